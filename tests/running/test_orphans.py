"""A stage whose dvc is killed, in small: real processes, without a pipeline. With one: tests/running/test_held.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.root import ROOT

#: A program that is called dvc, and runs the stage. SIGINT ends it at once.
_DVC = """
import os, signal, subprocess, sys
stage = subprocess.Popen([sys.executable, sys.argv[2]])
signal.signal(signal.SIGINT, lambda *_: os._exit(1))
stage.wait()
"""
#: A stage of three seconds, which tells of signals. Its timer goes off before it is ready, as in a download.
_STAGE = """
import os, signal, time
from stages.running import orphans

def told(number, _frame):
    print(signal.Signals(number).name, orphans.reason(), flush=True)
    if number == signal.SIGTERM:
        os._exit(75)

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
    signal.signal(number, told)
orphans.end_with_dvc()
signal.setitimer(signal.ITIMER_REAL, 0.01)
signal.pause()
print("ready", flush=True)
deadline = time.monotonic() + 3
while time.monotonic() < deadline:
    time.sleep(0.05)
print("worked on", flush=True)
"""


@pytest.fixture
def dvc(tmp_path: Path) -> subprocess.Popen[str]:
    """A dvc with its stage, which is ready."""
    (tmp_path / "dvc").write_text(_DVC)
    (tmp_path / "stage.py").write_text(_STAGE)
    command = [sys.executable, str(tmp_path / "dvc"), "repro", str(tmp_path / "stage.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert started.stdout
    assert [started.stdout.readline().strip() for _ in range(2)] == ["SIGALRM", "ready"]
    return started


def rest(started: subprocess.Popen[str]) -> str:
    """What the stage says until its end."""
    return started.communicate(timeout=60)[0]


def test_a_signal_of_another_kind_before_does_not_keep_a_stage_alive(dvc: subprocess.Popen[str]) -> None:
    dvc.kill()
    assert rest(dvc) == f"SIGTERM dvc (process {dvc.pid}), which ran this stage, has ended\n"


@pytest.mark.slow
def test_a_stage_that_is_being_stopped_gets_no_second_signal(dvc: subprocess.Popen[str]) -> None:
    os.killpg(dvc.pid, signal.SIGINT)
    assert rest(dvc) == "SIGINT \nworked on\n"
