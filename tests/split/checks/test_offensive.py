"""Slurs and insults: found by their hashes, whatever their capitals, and in no row of the data at hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from stages.split.checks import offensive
from stages.split.checks.offensive import hashed, offensive_words
from tests.root import ROOT

DATASETS = [ROOT / "assets/data/instructions.json", ROOT / "../shared/data/instruction-data.json"]
LIST = ROOT / "stages/split/checks/offensive_words.json"


def test_a_word_of_the_list_is_found_whatever_its_capitals() -> None:
    assert list(offensive_words("You dumbass! DUMBASSES, and a Dumbass-like one.")) == [
        "dumbass",
        "DUMBASSES",
        "Dumbass",
    ]


@pytest.mark.parametrize("text", ["", "dumb ass", "dumbassador", "classhole", "Scunthorpe", "a cocktail", "Essex"])
def test_a_part_of_another_word_is_none(text: str) -> None:
    assert list(offensive_words(text)) == []


@pytest.mark.parametrize("text", ["Filmen er slut.", "Kike Hernández", "The bitch had six puppies.", "Mr Wigger"])
def test_words_that_mean_something_else_too_are_not_in_the_list(text: str) -> None:
    assert list(offensive_words(text)) == []


def test_the_file_holds_hashes_and_says_where_the_words_are_from() -> None:
    tree = json.loads(LIST.read_text(encoding="utf-8"))

    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in tree["hashes"])
    assert tree["hashes"] == sorted(set(tree["hashes"]))
    assert hashed("dumbass") in tree["hashes"]
    assert "LDNOOBW" in tree["source"]
    assert "CC BY 4.0" in tree["licence"]


def test_the_hash_is_the_one_that_the_file_names() -> None:
    assert hashed("Word") == "98c1eb4ee9347674"  # printf word | sha256sum
    assert offensive._hashes() == frozenset(json.loads(LIST.read_text(encoding="utf-8"))["hashes"])


@pytest.mark.parametrize("path", DATASETS, ids=["bundled", "book"])
def test_no_row_at_hand_holds_one(path: Path) -> None:
    if not path.is_file():
        pytest.skip(f"no file {path.relative_to(ROOT)}")

    assert list(offensive_words(path.read_text(encoding="utf-8"))) == []
