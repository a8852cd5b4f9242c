"""The disk that DVC's copy of the trained model takes, which is made when the checkpoints are gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.common.errors import NoSpace
from stages.finetune.costs.disk import Room
from stages.running.dvc_cache import Copy

GIB = 1 << 30


def room(*, free: int, kept: int = 0, copy: Copy | None) -> Room:
    """A run with checkpoints of 3 GiB and a model of 1 GiB."""
    return Room(3 * GIB, 3, kept, GIB, free, free, copy)


def test_a_copy_on_the_same_disk_takes_as_much_again():
    copy = Copy(Path(".dvc/cache"), shared=True, free=2 * GIB - 1)
    short = room(free=2 * GIB - 1, copy=copy)

    with pytest.raises(NoSpace) as caught:
        short.check()

    what = ".dvc/cache: the trained model and DVC's copy of it take 2.0 GiB of disk, and 2.0 GiB are free"
    assert caught.value.what == what
    assert room(free=2 * GIB - 1, copy=None).lacking() is None
    assert room(free=2 * GIB - 1, kept=1, copy=copy).lacking() is None, "checkpoints of this run go before it"


def test_a_copy_on_another_disk_takes_nothing_of_this_one():
    assert room(free=GIB, copy=Copy(Path("/disk"), shared=False, free=GIB)).lacking() is None
    short = room(free=9 * GIB, copy=Copy(Path("/disk"), shared=False, free=GIB // 2))

    assert short.lacking() == "/disk: DVC's copy of the trained model takes 1.0 GiB of disk, and 0.5 GiB are free"


def test_the_copy_is_told_before_training():
    told = str(room(free=20 * GIB, copy=Copy(Path("/disk"), shared=False, free=5 * GIB)))

    assert told == (
        "disk: up to 9.0 GiB for checkpoints, 3 of 3.0 GiB, and 1.0 GiB for the model; 20.0 GiB are free; "
        "then DVC copies the\n"
        "  model to /disk, where 5.0 GiB are free"
    )
