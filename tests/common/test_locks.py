"""Locks between processes: who holds one, who waits, and that any death of the holder frees it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stages.common import locks
from tests.root import ROOT

#: Locks a path, says so, and holds it until its standard input closes.
HOLD = """
import os, sys
from stages.common.locks import try_lock
print(try_lock(os.open(sys.argv[1], os.O_RDONLY)), flush=True)
sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == "True\n"
    return process


@pytest.fixture(params=["file", "folder"])
def path(request, tmp_path: Path) -> Path:
    found = tmp_path / request.param
    found.touch() if request.param == "file" else found.mkdir()
    return found


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_a_lock_is_free_when_its_holder_is_killed(path):
    other = holder(path)
    with opened(path) as descriptor:
        assert not locks.try_lock(descriptor)
    with locks.locked_if_possible(path) as ours:
        assert ours is False
    other.kill()
    other.communicate()
    with locks.locked_if_possible(path) as ours:
        assert ours is True


def test_a_program_that_is_started_does_not_hold_the_lock(path):
    with opened(path) as descriptor:
        assert locks.try_lock(descriptor)
        child = subprocess.Popen(["sleep", "60"])
    with opened(path) as descriptor:
        assert locks.try_lock(descriptor)
    child.kill()
    child.communicate()


@pytest.mark.parametrize(("number", "held"), [(11, False), (13, False), (37, None)])
def test_what_a_file_system_says_of_a_lock(path, monkeypatch, number, held):
    """EAGAIN and EACCES: another process has it. ENOLCK: there are none."""

    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    with locks.locked_if_possible(path) as ours:
        assert ours is held


def test_there_is_no_lock_on_what_is_not_there(tmp_path):
    with locks.locked_if_possible(tmp_path / "nothing") as ours:
        assert ours is None


def test_a_file_removed_between_opening_and_locking_is_not_taken_for_the_one_at_its_path(tmp_path, monkeypatch):
    path, flock = tmp_path / "file", fcntl.flock
    path.touch()

    def too_late(descriptor, how):
        path.unlink()
        path.touch()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", too_late)
    with locks.locked_if_possible(path) as ours:
        assert ours is None


def test_opening_does_not_wait_unless_it_is_told_to(tmp_path):
    path = tmp_path / "new" / "file"
    first = locks.open_locked(path)
    with pytest.raises(BlockingIOError, match="new/file: another process holds its lock"):
        locks.open_locked(path)
    os.close(first)
    os.close(locks.open_locked(path))


def test_who_waits_for_a_file_that_is_removed_gets_the_next_one_and_says_so_once(tmp_path):
    path = tmp_path / "file"
    first = locks.open_locked(path)
    busy, got = [], []
    waits = threading.Event()

    def wait() -> None:
        got.append(locks.open_locked(path, on_busy=lambda: (busy.append(1), waits.set())))

    thread = threading.Thread(target=wait)
    thread.start()
    assert waits.wait(10)
    path.unlink()
    second = locks.open_locked(path)  # another file, whose lock is free
    os.close(first)
    thread.join(0.2)
    assert got == []
    os.close(second)
    thread.join(10)
    assert (len(got), len(busy)) == (1, 1)
    assert locks.leads_to(path, got[0])
    os.close(got[0])
