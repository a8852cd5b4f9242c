"""Recipes: which runs differ in the seed of their training and in nothing else that can change an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.params import reading
from stages.params.differences import differences, shown

#: The value that two trainings of one recipe may differ in.
SEED = "finetune.seed"
#: The sections of params.yaml that decide what a model answers. The judge's identity is compared apart, and its other
#: values change no score.
_SECTIONS = ("download", "split", "tokenize", "finetune", "generate")


def recipe_of(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values of params.yaml that make a recipe, by dotted key; None where a section or the seed is missing.

    Args:
        values: a run's tree of params.yaml, as dvc.lock or MLflow keeps it. A whole number is the number with ".0":
            dvc.lock keeps what the file says, and MLflow what the pipeline makes of it.
    """
    if any(not isinstance(values.get(section), Mapping) for section in _SECTIONS) or seed_of(values) is None:
        return None
    flat = reading.flatten({section: values[section] for section in _SECTIONS})
    return {key: _plain(value) for key, value in flat.items() if key != SEED}


def seed_of(values: Mapping[str, Any]) -> int | None:
    """The seed of a run's training; None where it is not known."""
    section = values.get("finetune")
    seed = section.get("seed") if isinstance(section, Mapping) else None
    return seed if isinstance(seed, int) else None


def between(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """What differs between two recipes, as texts such as ``finetune.epochs 6 / 3``."""
    return [f"{key} {shown(there)} / {shown(here)}" for key, there, here in differences(a, b)]


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return int(value) if float(value).is_integer() else float(value)
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value]
