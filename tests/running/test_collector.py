"""Python looks for circles of objects seldom, in stages and in flows, and still does."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from stages.running import collector
from tests.root import ROOT


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


class Circle:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_a_circle_of_objects_is_freed_before_many_are_there() -> None:
    collector.seldom()
    gc.collect()
    first = weakref.ref(Circle())
    made = 0
    while first() is not None:
        Circle()
        made += 1
        assert made < 100_000


def test_flows_and_stages_begin_so() -> None:
    code = "import gc, flows; print(gc.get_threshold()[0])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) > gc.get_threshold()[0]
