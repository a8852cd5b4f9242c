"""What was measured on this machine, in this folder: once, and the same ever after.

A second measurement could fall out the other way where two choices are about as good, and a run that goes on would then
compute in another way than it began. So a choice is kept, for this processor and version of torch.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Callable

from stages.common import paths
from stages.common.errors import DataError
from stages.common.files import read_json, write_json
from stages.running import bookkeeping, made_on

_NOTES = paths.CACHE / "measured.json"


def once(what: str, measure: Callable[[], str]) -> str:
    """A choice that is made by measuring, if it has not been made here already.

    Args:
        what: what is chosen, such as ``precision, width 768``.
        measure: function that makes the choice.
    """
    key = f"{what}, {_machine()}"
    notes = _notes()
    if key not in notes:
        notes[key] = measure()
        with bookkeeping.optional(_NOTES):
            write_json(_NOTES, notes)
    return notes[key]


def _notes() -> dict[str, str]:
    try:
        found = read_json(_NOTES, made_by="dvc repro finetune")
    except (DataError, OSError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


@functools.cache
def _machine() -> str:
    """The processor, how torch uses it, and torch's version, in 16 hexadecimal digits."""
    told = json.dumps([made_on.processor(), importlib.metadata.version("torch")])
    return hashlib.sha256(told.encode()).hexdigest()[:16]
