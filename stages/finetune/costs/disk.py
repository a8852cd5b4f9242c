"""The disk space that fine-tuning wants, checked before it begins."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from stages.common.errors import NoSpace
from stages.params.finetune import Finetune
from stages.running.out_of_memory import size


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
    """

    checkpoint: int
    at_once: int
    kept: int
    model: int
    for_checkpoints: int
    for_model: int

    @classmethod
    def of(cls, folder: Path, model_folder: Path, *, checkpoint: int, at_once: int, model: int) -> Self:
        """Look at the disks of a run's folder of checkpoints and of the model's folder, which need not exist yet."""
        return cls(checkpoint, at_once, used(folder), model, _free(folder), _free(model_folder))

    @property
    def enough(self) -> bool:
        """Whether there is room for all checkpoints and then the model, if both are on one disk."""
        return self.at_once * self.checkpoint - self.kept + self.model <= self.for_checkpoints

    def __str__(self) -> str:
        """What a person is told before training."""
        told = (
            f"disk: up to {size(self.at_once * self.checkpoint)} for checkpoints, {self.at_once} of "
            f"{size(self.checkpoint)}, and {size(self.model)} for the model; {size(self.for_checkpoints)} are free"
        )
        short = ". That is not enough: going on without checkpoints, but for one when the stage is told to stop"
        return told if self.enough else told + short

    def check(self) -> None:
        """Refuse a run whose result could not be written.

        Raises:
            NoSpace: there is no room for the model.
        """
        if self.for_model < self.model:
            raise NoSpace(
                f"the trained model takes {size(self.model)} of disk, and {size(self.for_model)} are free",
                "free some space, for instance by `dvc gc -w`, and run the same command again",
            )


def used(*folders: Path) -> int:
    """Bytes that the files in folders take; other processes may be at work in them."""
    total = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):  # which passes over what has just gone
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    total += Path(parent, name).stat().st_size
    return total


def _free(path: Path) -> int:
    """Bytes free on the disk of a path, which need not exist yet."""
    return shutil.disk_usage(next(folder for folder in (path, *path.parents) if folder.exists())).free
