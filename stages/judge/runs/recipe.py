"""Recipes: which runs differ in the seed of their training and in nothing else that can change an answer.

That is values of params.yaml, the code of the stages up to the answers, and the data that they read. dvc.lock names the
digests of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.common import paths
from stages.params import reading
from stages.params.differences import differences, shown

#: The value that two trainings of one recipe may differ in.
SEED = "finetune.seed"
#: The sections of params.yaml that decide what a model answers. The judge's identity is compared apart, and its other
#: values change no score.
_SECTIONS = ("download", "split", "tokenize", "finetune", "generate")
#: The thresholds of the checks of the rows: they refuse rows, and change none.
_CHECKS = "split.checks."
#: What the keys of files begin with; no section is called so.
_CODE, _DATA = "code ", "data "
#: Digits of a digest that a message shows.
_DIGITS = 7


def recipe_of(
    values: Mapping[str, Any], inputs: Mapping[str, Mapping[Path, str]] | None = None
) -> dict[str, Any] | None:
    """The values of params.yaml that make a recipe, by dotted key; None where a section or the seed is missing.

    With them are the digests of the code and the data, by ``code PATH`` and ``data PATH``. What an earlier stage has
    made is left out: it follows from these, and from the seed.

    Args:
        inputs: MD5 of each file and folder that each stage has read, as `stages.running.lock.Recorded` has them.
        values: a run's tree of params.yaml, as dvc.lock or MLflow keeps it. A whole number is the number with ".0":
            dvc.lock keeps what the file says, and MLflow what the pipeline makes of it.
    """
    if any(not isinstance(values.get(section), Mapping) for section in _SECTIONS) or seed_of(values) is None:
        return None
    flat = reading.flatten({section: values[section] for section in _SECTIONS})
    deciding = {key: _plain(value) for key, value in flat.items() if key != SEED and not key.startswith(_CHECKS)}
    return deciding | _digests(inputs or {})


def _digests(inputs: Mapping[str, Mapping[Path, str]]) -> dict[str, str]:
    """The digests of what the stages have read, but for artifacts; several where two stages have read two versions."""
    found: dict[str, set[str]] = {}
    for stage in _SECTIONS:
        for path, digest in inputs.get(stage, {}).items():
            if not path.is_relative_to(paths.ARTIFACTS):
                kind = _CODE if path.suffix == ".py" else _DATA
                found.setdefault(f"{kind}{path.as_posix()}", set()).add(digest)
    return {key: "+".join(sorted(found[key])) for key in sorted(found)}


def seed_of(values: Mapping[str, Any]) -> int | None:
    """The seed of a run's training; None where it is not known."""
    section = values.get("finetune")
    seed = section.get("seed") if isinstance(section, Mapping) else None
    return seed if isinstance(seed, int) else None


def between(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """What differs between two recipes, as texts such as ``finetune.epochs 6 / 3``; values, then data, then code."""
    found = differences(a, b)
    order = sorted(found, key=lambda one: (one[0].startswith(_CODE), one[0].startswith(_DATA)))
    return [f"{key} {_shown(key, there)} / {_shown(key, here)}" for key, there, here in order]


def _shown(key: str, value: Any) -> str:
    """A value, or the beginning of a digest."""
    return value[:_DIGITS] if key.startswith((_CODE, _DATA)) and isinstance(value, str) else shown(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return int(value) if float(value).is_integer() else float(value)
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value]
