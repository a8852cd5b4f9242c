"""Groups of plain nouns that several categories share, so that their words meet again and again."""

from __future__ import annotations

from typing import NamedTuple


class Group(NamedTuple):
    singular: str
    plural: str
    words: tuple[str, ...]


# No word may fit a second group (so no 'orange', no 'file'), and every noun can be counted.
GROUPS = (
    Group(
        "animal",
        "animals",
        ("fox", "horse", "owl", "lion", "tiger", "rabbit", "wolf", "dog", "cat", "cow", "goat", "elephant"),
    ),
    Group(
        "fruit",
        "fruits",
        ("apple", "pear", "plum", "banana", "cherry", "grape", "lemon", "peach", "mango", "melon"),
    ),
    Group(
        "vehicle",
        "vehicles",
        ("car", "bus", "lorry", "train", "bicycle", "tram", "van", "tractor", "taxi", "motorcycle"),
    ),
    Group(
        "tool",
        "tools",
        ("hammer", "saw", "drill", "spanner", "screwdriver", "chisel", "axe", "spade", "rake"),
    ),
    Group(
        "piece of furniture",
        "pieces of furniture",
        ("chair", "table", "sofa", "bed", "desk", "wardrobe", "stool", "bookcase", "armchair"),
    ),
    Group(
        "musical instrument",
        "musical instruments",
        ("piano", "violin", "guitar", "flute", "drum", "trumpet", "harp", "cello", "clarinet"),
    ),
)
