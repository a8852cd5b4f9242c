"""The end of a process without its interpreter's teardown: real processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.root import ROOT

_PROGRAM = """
from stages.running import quick_end
import atexit, sys, threading, time

class Last:
    def __del__(self):
        print("torn down", flush=True)

kept = Last()
atexit.register(print, "a function for the end")
threading.Thread(target=lambda: (time.sleep(0.3), print("a thread"))).start()
with quick_end.after():
    print("the block", end=" ")
    {}
"""
ENDED_QUICKLY = "the block a thread\na function for the end\n"


@pytest.mark.parametrize(
    ("last", "code"), [("pass", 0), ("sys.exit()", 0), ("sys.exit(0)", 0), ("sys.exit(75)", 75), ("sys.exit(-1)", 255)]
)
def test_all_runs_that_runs_at_the_end_but_the_teardown(last, code):
    command = [sys.executable, "-c", _PROGRAM.format(last)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (code, ENDED_QUICKLY, "")


@pytest.mark.parametrize("last", ["raise ValueError('why')", "sys.exit('why')"])
def test_after_another_exception_the_interpreter_ends_as_always(last):
    command = [sys.executable, "-c", _PROGRAM.format(last)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "why" in done.stderr
    assert done.stdout == ENDED_QUICKLY + "torn down\n"
