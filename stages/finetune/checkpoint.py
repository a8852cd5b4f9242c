"""Checkpoints of an unfinished training run, from which it goes on to the same bits.

A checkpoint is a folder ``step-00000123`` with the tensors in state.safetensors and the rest in progress.json, which
holds the SHA-256 of both. It is written under another name, flushed to disk and renamed, so it is whole or absent; the
one before stays until the next is whole. All checkpoints of a run are in a folder named after everything that the
run's weights depend on, so that no other run takes them for its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stages.common import mistakes
from stages.common.errors import DataError
from stages.common.files import atomic_folder, read_json, sha256, write_json
from stages.common.locks import locked_if_possible, open_locked
from stages.finetune.costs import disk
from stages.finetune.costs.clock import since_start
from stages.finetune.progress import Progress

STATE = "state.safetensors"
PROGRESS = "progress.json"
#: Raised whenever what is in a checkpoint changes.
FORMAT = 3

#: Whole checkpoints kept: the newest, and one to fall back on.
KEPT = 2
#: The share of the time that checkpoints may take, the first one too: the next one waits until there is time for it.
SHARE = 0.04
#: Bytes written to estimate what the first one takes, and how many times as long a large file takes in proportion.
PROBE = 32 << 20
SLOWER = 2
#: Seconds within which a process that looks whether a run is at work has given its lock back.
_GLANCE_SECONDS = 0.2
#: Bytes hashed and written at a time.
_PIECE = 16 << 20


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: tensors by name, each read from the disk when it is asked for, and the progress.

    ``seconds`` are those that the run had taken until then; None where the checkpoint does not say so.
    """

    tensors: Mapping[str, Tensor]
    progress: Progress
    seconds: float | None = None


@dataclass(frozen=True)
class Resumed:
    """Where a run went on from: the steps done before, and the seconds that these took; None where not known."""

    steps: int
    seconds: float | None


class Checkpoints:
    """The checkpoints of one run, held by one process at a time.

    A second process that trains the same run at the same time does so without checkpoints, and so does one that cannot
    lock them. A checkpoint that cannot be written is reported, and training goes on.

    Args:
        folder: the run's own; stages/finetune/job.py names it by `stages.running.run_key.run_key`.
        seconds: the shortest time between two checkpoints; it is longer where they would take more than `SHARE`.
        say: function that prints why a checkpoint is refused.
        size: bytes of one checkpoint, from which the time of the first is estimated.
        periodic: whether there are checkpoints besides the one that is saved when the run is told to stop.
        at_end: whether the last step is to be saved too, since the result may get lost; asked after it.
        now: the time in seconds.
        taken: function that returns the seconds since the program began. Each checkpoint has their sum over all
            programs that the run took so far, outside what is hashed: no result depends on it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seconds: float,
        say: Callable[[str], None],
        size: int = 0,
        periodic: bool = True,
        at_end: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = time.monotonic,
        taken: Callable[[], float] = since_start,
    ) -> None:
        self.folder = folder
        #: Where this process went on from; None where it began from scratch.
        self.resumed: Resumed | None = None
        self._seconds = seconds
        self._say = say
        self._size = size
        self._periodic = periodic
        self._at_end = at_end
        self._now = now
        self._taken = taken
        self._began = self._last = now()
        self._lock: int | None = None
        #: Estimated seconds of the next one.
        self._cost: float | None = None
        #: Seconds that checkpoints have taken so far.
        self.spent = 0.0

    @property
    def held(self) -> bool:
        """Whether the run's checkpoints are this process's."""
        return self._lock is not None

    @property
    def used(self) -> int:
        """Bytes that the run's checkpoints take; 0 where they are another process's."""
        return disk.used(self.folder) if self.held else 0

    def __enter__(self) -> Self:
        """Take the run's lock, which the kernel gives back however the process ends."""
        try:
            self._lock = self._locked()
        except BlockingIOError:
            self._say("another process is training this very run: going on without checkpoints")
        except OSError as error:
            self._say(f"{self._lock_file}: {error.strerror or error}: going on without checkpoints")
        else:
            for unfinished in self.folder.glob(".step-*"):  # of a process that was killed while it saved
                shutil.rmtree(unfinished, ignore_errors=True)
        return self

    def _locked(self) -> int:
        try:
            return open_locked(self._lock_file)
        except BlockingIOError:
            time.sleep(_GLANCE_SECONDS)  # another run may have looked whether this one is at work
            return open_locked(self._lock_file)

    def __exit__(self, *_: object) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def due(self) -> bool:
        """Whether it is time for the next one, and all of them, with it, will have taken no more than `SHARE`."""
        if not (self.held and self._periodic) or self._now() - self._last < self._seconds:
            return False
        if self._cost is None:
            self._cost = self._estimated()
        return self.spent + self._cost <= SHARE * (self._now() - self._began)

    def due_at_end(self, step: int) -> bool:
        """Whether the last step, which has this number, is to be saved."""
        return self.held and self._at_end() and not self._folder(step).exists()

    def _estimated(self) -> float:
        """Seconds that a first checkpoint may take, in proportion to a part of it that is written."""
        count = min(self._size, PROBE)
        if count == 0:
            return 0.0
        started = self._now()
        file = self.folder / ".probe"
        with contextlib.suppress(OSError):  # told when the checkpoint itself is written
            self.folder.mkdir(exist_ok=True)
            try:
                with open(file, "wb") as stream:
                    piece = os.urandom(min(count, 1 << 20))  # drawing all of it would take longer than writing it
                    _write_hashed(stream, [piece] * (count // len(piece)))
                    os.fsync(stream.fileno())
            finally:
                file.unlink(missing_ok=True)  # on a full disk it would be in the way of the checkpoint
        taken = self._now() - started
        self.spent += taken
        return SLOWER * taken * self._size / count

    def save(
        self,
        step: int,
        shapes: Mapping[str, Sequence[int]],
        tensors: Iterable[tuple[str, Tensor]],
        progress: Progress,
    ) -> None:
        """Write a checkpoint, and remove all but the one before it.

        Args:
            step: number of steps done.
            shapes: shapes of the tensors by name, in their order.
            tensors: the tensors in fp32, each with its name, taken one at a time.
            progress: the rest of the checkpoint.
        """
        if not self.held:
            return
        started = self._now()
        try:
            self._write(step, _safetensors(shapes, tensors), progress)
        except OSError as error:
            self._say(f"{self.folder}: no checkpoint of step {step}: {error.strerror or error}")
        # What was refused may be of a later step than this one.
        done = [folder for folder in self._folders() if _step(folder) <= step]
        for old in set(self._folders()) - set(done[:KEPT]):
            shutil.rmtree(old, ignore_errors=True)
        self._last = self._now()
        self._cost = self._last - started
        self.spent += self._cost

    def _write(self, step: int, state: Iterable[bytes | memoryview], progress: Progress) -> None:
        with atomic_folder(self._folder(step)) as folder:
            tree = progress.to_json()
            with open(folder / STATE, "wb") as stream:
                hashes = {STATE: _write_hashed(stream, state), "progress": _hash_of(tree)}
            head = {"format": FORMAT, "key": self.folder.name, "step": step, "sha256": hashes}
            write_json(folder / PROGRESS, head | {"seconds": self._so_far(), "progress": tree})

    def _so_far(self) -> float | None:
        """The seconds that the run has taken, with those before it went on; None where they are not known."""
        before = self.resumed.seconds if self.resumed else 0.0
        return None if before is None else before + self._taken()

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole and of this run, or None; what is refused is told with the reason."""
        found = self._folders() if self.held else []
        for folder in found:
            try:
                checkpoint = self._read(folder, check=True)
            except DataError as error:
                self._say(f"{folder}: not used: {error.what}")
            else:
                self._say(f"going on from {folder}")
                self.resumed = Resumed(checkpoint.progress.step, checkpoint.seconds)
                return checkpoint
        if found:
            self._say("no checkpoint can be used: beginning from scratch")
        return None

    def at(self, step: int) -> Checkpoint:
        """The checkpoint of a step that another process, which holds the run's, has found whole.

        Raises:
            DataError: it cannot be read.
        """
        return self._read(self._folder(step), check=False)

    def others(self) -> list[Path]:
        """The folders of other runs that have ended without finishing; those of runs at work are left out."""
        others = (path for path in self.folder.parent.glob("*/") if path.name != self.folder.name)
        return sorted(path for path in others if not _is_at_work(path))

    def clear(self) -> None:
        """Remove the run's checkpoints: it is finished."""
        if self.held:
            shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # it holds nothing
                self._lock_file.unlink(missing_ok=True)

    @property
    def _lock_file(self) -> Path:
        return _lock_of(self.folder)

    def _folder(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def _folders(self) -> list[Path]:
        """Newest first."""
        named = (path for path in self.folder.glob("step-*") if re.fullmatch(r"step-\d{8}", path.name))
        return sorted(named, reverse=True)

    def _read(self, folder: Path, *, check: bool) -> Checkpoint:
        fix = f"rm -r {folder}"
        try:
            tree = read_json(folder / PROGRESS, made_by=fix)
            expected = {"format": FORMAT, "key": self.folder.name, "step": _step(folder)}
            for name, value in expected.items():
                found = tree.get(name) if isinstance(tree, dict) else None
                if found != value:
                    raise DataError(f"{PROGRESS}: {name}: expected {value!r}, found {found!r}", fix)
            if (hashed := _hash_of(tree["progress"])) != tree["sha256"]["progress"]:
                raise DataError(f"{PROGRESS}: expected SHA-256 {tree['sha256']['progress']}, found {hashed}", fix)
            if check and (hashed := sha256(folder / STATE)) != tree["sha256"][STATE]:
                raise DataError(f"{STATE}: expected SHA-256 {tree['sha256'][STATE]}, found {hashed}", fix)
            progress = Progress.from_json(tree["progress"])
            if progress.step != _step(folder):
                raise DataError(f"{PROGRESS}: expected step {_step(folder)}, found {progress.step}", fix)
            return Checkpoint(_Tensors(folder / STATE), progress, _seconds(tree))
        except OSError as error:
            raise DataError(f"{error.filename or folder}: {error.strerror or error}", fix) from None
        except KeyError as error:
            raise DataError(f"{PROGRESS}: {error} is missing", fix) from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise DataError(f"{PROGRESS}: {where}: {mistakes.describe(first)}", fix) from None
        except SafetensorError:
            raise DataError(f"{STATE}: not a whole safetensors file", fix) from None
        except (TypeError, ValueError):
            raise DataError(f"{PROGRESS}: not what is written there", fix) from None


def remove(folder: Path) -> None:
    """Remove the checkpoints of a run that is finished, unless another process trains the same run at this moment."""
    with Checkpoints(folder, seconds=0.0, say=lambda _: None) as found:
        found.clear()


class _Tensors(Mapping[str, Tensor]):
    """The tensors of a safetensors file, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self._file = safe_open(path, framework="pt")
        self._names = list(self._file.keys())

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        tensor: Tensor = self._file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _lock_of(folder: Path) -> Path:
    return folder.with_suffix(".lock")


def _is_at_work(folder: Path) -> bool:
    """Whether a process holds the checkpoints in a run's folder."""
    with locked_if_possible(_lock_of(folder)) as ours:
        return ours is False


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _seconds(tree: dict[str, Any]) -> float | None:
    """The seconds in a checkpoint, which no hash covers and no result depends on; None where there are none."""
    found = tree.get("seconds")
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return float(found) if math.isfinite(found) and found >= 0 else None


def _hash_of(tree: Any) -> str:
    """The SHA-256 of a JSON value, however it is laid out in a file."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def _safetensors(
    shapes: Mapping[str, Sequence[int]], tensors: Iterable[tuple[str, Tensor]]
) -> Iterator[bytes | memoryview]:
    """The bytes of a safetensors file of fp32 tensors, which are asked for one at a time."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for (name, tensor), (expected, shape) in zip(tensors, shapes.items(), strict=True):
        assert (name, list(tensor.shape), tensor.dtype) == (expected, list(shape), torch.float32)
        yield tensor.detach().cpu().contiguous().view(-1).numpy().data.cast("B")


def _write_hashed(stream: Any, parts: Iterable[bytes | memoryview]) -> str:
    """Write parts and return the SHA-256 of them all, which are not read again for it."""
    digest = hashlib.sha256()
    for part in parts:
        for start in range(0, len(part), _PIECE):
            piece = part[start : start + _PIECE]
            digest.update(piece)
            stream.write(piece)
    return digest.hexdigest()
