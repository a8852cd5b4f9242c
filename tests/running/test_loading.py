"""The garbage collector is off while libraries load, and as it was before afterwards."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from stages.running.loading import without_collector


class Cycle:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_the_collector_is_off_for_the_block_and_on_again_after_it() -> None:
    with without_collector():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with without_collector():
        pass
    assert not gc.isenabled()


def test_it_is_on_again_after_an_import_that_fails() -> None:
    with pytest.raises(ImportError), without_collector():
        import a_library_that_nobody_has  # noqa: F401
    assert gc.isenabled()


def test_what_comes_after_the_block_is_collected_and_what_was_there_is_not() -> None:
    with without_collector():
        there = weakref.ref(Cycle())
    later = weakref.ref(Cycle())
    gc.collect()
    assert (there() is None, later() is None) == (False, True)
