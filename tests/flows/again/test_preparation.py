"""What is known to differ from what a run was made on, and what is not known of it."""

from __future__ import annotations

import dataclasses

import pytest

from flows.again import preparation
from flows.again.original import Original
from stages.running import made_on


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Original:
    """A run that was made on this machine, which has no GPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return Original("calm-otter", "c" * 40, lock={}, outputs={}, made_on=made_on.here(), on_gpu=False)


def test_of_a_run_that_was_made_here_nothing_differs(here: Original) -> None:
    assert preparation.differences(here) == []
    used = dataclasses.replace(here, on_gpu=True)
    assert preparation.differences(used) == ["device GPU → CPU: there is none here"]


def test_what_is_not_known_is_said(here: Original) -> None:
    assert preparation.differences(dataclasses.replace(here, on_gpu=None)) == ["not known whether it used a GPU"]
    assert preparation.differences(dataclasses.replace(here, cached=("download", "split"))) == [
        "not known of download, split, whose results came from DVC's cache, on what they were made"
    ]
    nothing = dataclasses.replace(here, made_on={}, on_gpu=None, cached=("judge",))
    assert preparation.differences(nothing) == [
        "not known: of what it was made on nothing is kept: its results came from DVC's cache"
    ]
