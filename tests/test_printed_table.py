"""The frame of the tables of runs: what is printed, the exit code, and that nothing is left."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.root import ROOT

_PROGRAM = """\
import sys, time
from tests import printed_table

def rows(folder):
    (folder / "work").mkdir()
    print(folder, flush=True)
    try:
        yield 1
        if "stop" in sys.argv:
            time.sleep(600)
        yield int(sys.argv[1])
    finally:
        print("closed", flush=True)

sys.exit(printed_table.run(
    "table", rows, told=str, markdown=lambda found: f"table of {found}", wrong=lambda row: row > 2, note="seed 0, ",
))
"""


@pytest.mark.parametrize(("last", "code"), [(2, 0), (3, 1)])
def test_a_row_that_is_wrong_ends_the_program_with_1(last: int, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(last)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert done.stderr == f"1\n{last}\n"
    folder, *rest = done.stdout.splitlines()
    assert rest == ["closed", f"table of [1, {last}]", "", "seed 0, 0.0 minutes"]
    assert not Path(folder).exists()


def test_a_program_that_is_stopped_tells_what_it_has_and_leaves_nothing() -> None:
    command = [sys.executable, "-c", _PROGRAM, "2", "stop"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert process.stdout
        assert process.stderr.readline() == "1\n"
        process.send_signal(signal.SIGTERM)
        folder, *rest = process.stdout.read().splitlines()
    assert process.returncode == 128 + signal.SIGTERM
    assert rest == ["closed", "table of [1]", "", "seed 0, 0.0 minutes"]
    assert not Path(folder).exists()
