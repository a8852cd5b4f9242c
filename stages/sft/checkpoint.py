"""Checkpoints of an unfinished training run, from which it goes on to the same bits.

A checkpoint is a folder ``step-00000123`` with the tensors in state.safetensors and the rest in progress.json, which
holds the SHA-256 of the tensors. It is written under another name, flushed to disk and renamed, so it is whole or
absent; the one before stays until the next is whole. All of a run's checkpoints lie in a folder named after everything
that the run's weights depend on, so that no other run takes them for its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from stages.common.errors import DataError
from stages.common.files import atomic_folder, read_json, sha256, sync_folder, write_json
from stages.gpt2 import weights

STATE = "state.safetensors"
PROGRESS = "progress.json"
#: Raised whenever what is in a checkpoint changes.
FORMAT = 1

#: Whole checkpoints kept: the newest, and one to fall back on.
KEPT = 2
#: The next checkpoint waits so many times the seconds that the last one took: they cost at most 4 % of the time.
PATIENCE = 25


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: tensors by name, and the JSON of a run's progress."""

    tensors: dict[str, Tensor]
    progress: dict[str, Any]


def run_key(*parts: str | Path) -> str:
    """A name for a run: a hash of texts and of files' contents, 16 hexadecimal digits."""
    # Sums are taken in another order by another number of threads, and by another kind of processor.
    machine = f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    digest = hashlib.sha256(f"format {FORMAT}, torch {torch.__version__}, {machine}".encode())
    for part in parts:
        digest.update(b"\0" + (sha256(part) if isinstance(part, Path) else part).encode())
    return digest.hexdigest()[:16]


class Checkpoints:
    """The checkpoints of one run, held by one process at a time.

    A second process that trains the same run at the same time does so without checkpoints. A checkpoint that cannot be
    written is told and costs nothing but itself.

    Args:
        folder: the run's own, named by `run_key`.
        seconds: the shortest time between two checkpoints; a slow disk makes it longer.
        say: is told why a checkpoint is refused.
    """

    def __init__(self, folder: Path, *, seconds: float, say: Callable[[str], None]) -> None:
        self.folder = folder
        self._say = say
        self._wait = seconds
        self._last = time.monotonic()
        #: Whether the run's checkpoints are this process's.
        self.held = False
        #: Seconds that saving has taken so far.
        self.spent = 0.0

    def __enter__(self) -> Self:
        """Take the run's lock, which the kernel gives back however the process ends."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._lock_file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._say("another process is training this very run: going on without checkpoints")
        else:
            self.held = True
            for unfinished in self.folder.glob(".step-*"):  # of a process that was killed while it saved
                shutil.rmtree(unfinished, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the lock back."""
        self.held = False
        os.close(self._lock)

    def due(self) -> bool:
        """Whether it is time for the next one."""
        return time.monotonic() - self._last >= self._wait

    def save(self, step: int, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and remove those that are older than the one before it."""
        if not self.held:
            return
        started = time.monotonic()
        try:
            self._write(step, checkpoint)
        except OSError as error:
            self._say(f"{self.folder}: no checkpoint of step {step}: {error.strerror or error}")
        for old in self._folders()[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
        self._last = time.monotonic()
        self.spent += self._last - started
        self._wait = max(self._wait, PATIENCE * (self._last - started))

    def _write(self, step: int, checkpoint: Checkpoint) -> None:
        with atomic_folder(self._folder(step)) as folder:
            weights.write_tensors(folder / STATE, checkpoint.tensors)
            progress = {"format": FORMAT, "key": self.folder.name, "sha256": sha256(folder / STATE)}
            write_json(folder / PROGRESS, progress | {"progress": checkpoint.progress})
            sync_folder(folder)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole and of this run, or None; what is refused is told with the reason."""
        for folder in self._folders() if self.held else []:
            try:
                found = self._read(folder)
            except DataError as error:
                self._say(f"{folder}: not used: {error.what}")
            else:
                self._say(f"going on from {folder}")
                return found
        return None

    def at(self, step: int) -> Checkpoint:
        """The checkpoint of a step that another process, which holds the run's, has found whole.

        Raises:
            DataError: it is not.
        """
        return self._read(self._folder(step))

    def others(self) -> list[Path]:
        """The folders of other runs that did not finish."""
        return sorted(path for path in self.folder.parent.glob("*/") if path.name != self.folder.name)

    def clear(self) -> None:
        """Remove the run's checkpoints: it is finished."""
        if self.held:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lock_file.unlink(missing_ok=True)

    @property
    def _lock_file(self) -> Path:
        return self.folder.with_suffix(".lock")

    def _folder(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def _folders(self) -> list[Path]:
        """Newest first."""
        named = (path for path in self.folder.glob("step-*") if re.fullmatch(r"step-\d{8}", path.name))
        return sorted(named, reverse=True)

    def _read(self, folder: Path) -> Checkpoint:
        mend = f"rm -r {folder}"
        tree = read_json(folder / PROGRESS, made_by=mend)
        expected = {"format": FORMAT, "key": self.folder.name}
        for name, value in expected.items():
            found = tree.get(name) if isinstance(tree, dict) else None
            if found != value:
                raise DataError(f"{PROGRESS}: {name}: expected {value!r}, found {found!r}", mend)
        if not (folder / STATE).is_file():
            raise DataError(f"{STATE} is missing", mend)
        if (found := sha256(folder / STATE)) != tree.get("sha256"):
            raise DataError(f"{STATE}: expected SHA-256 {tree.get('sha256')}, found {found}", mend)
        try:
            return Checkpoint(load_file(folder / STATE), tree["progress"])
        except (SafetensorError, KeyError) as error:
            raise DataError(f"not readable: {error}", mend) from None
