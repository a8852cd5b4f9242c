"""The disk space that fine-tuning wants, checked before it begins."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from stages.common.errors import NoSpace
from stages.params.finetune import Finetune
from stages.running import dvc_cache, machine
from stages.running.console import fitted, size

#: Checkpoints on disk while one is written (`stages.finetune.checkpoint.KEPT` and that one).
AT_ONCE = 3


def state_bytes(trained: int, settings: Finetune) -> int:
    """The size of a checkpoint: of each trained weight the fp32 value, AdamW's two moments, and the best value yet."""
    return 4 * trained * (3 + (settings.patience is not None))


@dataclass(frozen=True)
class Room:
    """What a run will write, and what there is for it, all in bytes.

    Args:
        checkpoint: size of one checkpoint.
        at_once: how many checkpoints there are while one is written.
        kept: what the run's own checkpoints take already.
        model: size of the trained model.
        for_checkpoints: free space on the disk of the checkpoints.
        for_model: free space on the disk of the model, which may be the same.
        copy: the copy that DVC will make of the model; None where it makes none.
    """

    checkpoint: int
    at_once: int
    kept: int
    model: int
    for_checkpoints: int
    for_model: int
    copy: dvc_cache.Copy | None = None

    @classmethod
    def of(
        cls,
        folder: Path,
        model_folder: Path,
        *,
        checkpoint: int,
        at_once: int,
        model: int,
        copy: dvc_cache.Copy | None = None,
    ) -> Self:
        """Look at the disks of a run's folder of checkpoints and of the model's folder, which need not exist yet.

        Args:
            folder: folder of the checkpoints.
            model_folder: folder of the model.
            checkpoint: bytes of one checkpoint.
            at_once: how many of them there are at a time, at most.
            model: bytes of the model.
            copy: what DVC copies into its cache afterwards; None where it copies nothing.
        """
        return cls(
            checkpoint, at_once, used(folder), model, machine.free_disk(folder), machine.free_disk(model_folder), copy
        )

    @property
    def enough(self) -> bool:
        """Whether there is room for all checkpoints and then the model, if both are on one disk."""
        return self.at_once * self.checkpoint - self.kept + self.model <= self.for_checkpoints

    def __str__(self) -> str:
        """What a person is told before training, in lines of the usual width."""
        return fitted(f"disk: {self.told()}", 2)

    def told(self) -> str:
        """The same in one line."""
        told = (
            f"up to {size(self.at_once * self.checkpoint)} for checkpoints, {self.at_once} of "
            f"{size(self.checkpoint)}, and {size(self.model)} for the model; {size(self.for_checkpoints)} are free"
        )
        if self.copy is not None:
            told += f"; then DVC copies the model to {self.copy.folder}, where {size(self.copy.free)} are free"
        short = ". That is not enough: going on without checkpoints, but for one when the stage is told to stop"
        return told if self.enough else told + short

    def check(self) -> None:
        """Refuse a run whose result could not be written, or not be copied by DVC.

        Raises:
            NoSpace: there is no room for the model, or for DVC's copy of it.
        """
        if lacking := self.lacking():
            raise NoSpace(lacking, "free some space, for instance by `dvc gc -w`, and run the same command again")

    def lacking(self) -> str | None:
        """What there is no room for: the model, or DVC's copy of it, when the checkpoints are gone; None if nothing."""
        wants = [("the trained model takes", self.model, self.for_model)]
        if self.copy is not None and self.copy.shared:
            what = f"{self.copy.folder}: the trained model and DVC's copy of it take"
            wants.append((what, 2 * self.model, self.kept + self.copy.free))
        elif self.copy is not None:
            wants.append((f"{self.copy.folder}: DVC's copy of the trained model takes", self.model, self.copy.free))
        short = (f"{what} {size(it)} of disk, and {size(free)} are free" for what, it, free in wants if free < it)
        return next(short, None)


def used(*folders: Path) -> int:
    """Bytes that the files in folders take; other processes may be at work in them."""
    total = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):  # which passes over what has just gone
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    total += Path(parent, name).stat().st_size
    return total
