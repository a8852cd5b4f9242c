"""What was measured on this machine, in this folder: once, and the same ever after.

A second measurement could fall out the other way where two choices are about as good, and a run that goes on would then
compute in another way than it began. So a choice is kept, for this processor and version of torch.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Callable
from pathlib import Path

from stages.common import paths
from stages.common.errors import DataError
from stages.common.files import atomic_file, read_json
from stages.running import bookkeeping, made_on

#: The folder of what was measured.
NOTES = paths.CACHE / "measured"


def once(what: str, measure: Callable[[], str]) -> str:
    """A choice that is made by measuring, if it has not been made here already.

    Of two processes that measure at once, both take the choice of the first to keep it.

    Args:
        what: what is chosen, such as ``precision, width 768``.
        measure: function that makes the choice.
    """
    note = NOTES / f"{hashlib.sha256(f'{what}, {_machine()}'.encode()).hexdigest()[:32]}.json"
    if (kept := _kept(note)) is not None:
        return kept
    choice = measure()
    with bookkeeping.optional(note):
        note.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(note.with_suffix(f".{os.getpid()}")) as stream:
            json.dump({"what": what, "choice": choice}, stream)
        _put_first(note.with_suffix(f".{os.getpid()}"), note)
    return _kept(note) or choice


def _put_first(made: Path, note: Path) -> None:
    """Give a file its name, unless a whole one has it already."""
    try:
        os.link(made, note)
        made.unlink()
    except FileExistsError:
        if _kept(note) is None:
            made.replace(note)
        else:
            made.unlink()
    except OSError:  # a file system without hard links
        made.replace(note)


def _kept(note: Path) -> str | None:
    try:
        found = read_json(note, made_by="dvc repro finetune")
        return str(found["choice"])
    except (DataError, OSError, LookupError, TypeError):
        return None


@functools.cache
def _machine() -> str:
    """The processor, how torch uses it, and torch's version, in 16 hexadecimal digits."""
    told = json.dumps([made_on.processor(), importlib.metadata.version("torch")])
    return hashlib.sha256(told.encode()).hexdigest()[:16]
