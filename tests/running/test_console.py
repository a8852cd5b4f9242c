"""What is said where no terminal shows a progress bar."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from stages.common.errors import DataError
from stages.running import console, progress_file
from stages.running.summary_parts import lines
from tests.root import ROOT


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


def test_a_bar_tells_the_flow_how_far_it_is_where_no_terminal_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "progress.json"
    monkeypatch.setenv(progress_file.VARIABLE, str(file))
    monkeypatch.setattr(progress_file, "_told", progress_file.Progress({}, []))
    assert progress_file.read(file).works == {}
    with console.progress(total=10, unit="row", what="generate, base model", done=2) as bar:
        assert progress_file.read(file).works == {"generate, base model": (2, 10, "row")}
        bar.update(8)
    assert progress_file.read(file).works == {"generate, base model": (10, 10, "row")}
    with console.progress(total=3, unit="step", what="finetune") as bar:
        for step in (0, 1, 2, 3):  # as a training tells its steps
            bar.update(step - bar.n)
            assert progress_file.read(file).works["finetune"].done <= step
    assert progress_file.read(file).works["finetune"] == (3, 3, "step")
    progress_file.tell_gpus(["GPU-a"])
    assert progress_file.read(file).gpus == ["GPU-a"]
    monkeypatch.setenv(progress_file.VARIABLE, str(tmp_path / "none" / "progress.json"))
    console.progress(total=1, unit="row", what="judge").close()  # for people: no stage fails for it


def forecast(clock: list[float], at_a_time: int = 1) -> console.Forecast:
    bar = console.progress(total=0, unit="verdict", what="judging")
    return console.Forecast(bar, unit="verdicts", what="judging", at_a_time=at_a_time, now=lambda: clock[0])


def test_the_time_that_is_left_is_said_once_and_by_what_took_time(clock, capsys):
    told = forecast(clock)
    told.start(1200)
    told.known(100)
    for _ in range(4):
        clock[0] += 3.0
        told.made(1)
    assert capsys.readouterr().out == ""
    for _ in range(1000):
        clock[0] += 3.0
        told.made(1)
    assert capsys.readouterr().out == "judging: 105 of 1,200 verdicts; the rest will take about 54 min 45 s\n"


def test_several_at_a_time_are_waited_for_until_their_rate_is_known(clock, capsys):
    """Four of 3 seconds each come together: after the first of them the rate would be a quarter of what it is."""
    told = forecast(clock, at_a_time=4)
    told.start(40)
    for number in range(20):
        clock[0] += 3.0 * (number % 4 == 0)
        told.made(1)
        assert (capsys.readouterr().out == "") == (number < 19)


@pytest.mark.parametrize(("units", "seconds"), [(1000, 0.001), (console.UNITS_BEFORE, 60.0)])
def test_what_is_done_before_its_rate_is_known_is_told_nothing(clock, capsys, units, seconds):
    told = forecast(clock)
    told.start(units)
    for _ in range(units):
        clock[0] += seconds
        told.made(1)
    assert capsys.readouterr().out == ""


def test_work_that_begins_after_other_work_is_counted_anew(clock, capsys):
    told = forecast(clock)
    told.start(100)
    told.known(20)
    for _ in range(5):
        clock[0] += 3.0
        told.made(1)
    assert capsys.readouterr().out == "judging: 25 of 100 verdicts; the rest will take about 3 min 45 s\n"
    clock[0] += 1000.0
    told.start(10)
    for _ in range(5):
        clock[0] += 2.0
        told.made(1)
    assert capsys.readouterr().out == "judging: 5 of 10 verdicts; the rest will take about 10 s\n"


def test_a_bar_on_a_terminal_says_it_itself(clock, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    told = forecast(clock)
    told.start(1000)
    for _ in range(100):
        clock[0] += 3.0
        told.made(1)
    assert capsys.readouterr().out == ""


HOSTILE = "\x1b]0;owned\x07\x1b[2Jred\x9b31m"
SHOWN = "\\x1b]0;owned\\x07\\x1b[2Jred\\x9b31m"


def test_a_message_with_control_characters_is_shown_as_text(capsys):
    console.say(f"row 3: {HOSTILE}\nand\tmore")
    assert capsys.readouterr().out == f"row 3: {SHOWN}\nand\tmore\n"


def test_an_error_of_a_stage_is_shown_as_text(tmp_path):
    code = (
        "from stages.running import program\nfrom stages.common.errors import DataError\n"
        f"def main(): raise DataError({HOSTILE!r}, {HOSTILE!r})\nprogram.run('split', main)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr.decode()) == (
        DataError.exit_code,
        f"split: {SHOWN}\n  to fix it: {SHOWN}\n",
    )


#: Files whose prints hold nothing from outside: addresses and ports that they chose, and paths of this interpreter.
OF_OUR_OWN = {"flows/servers.py", "flows/deploy.py", "stages/__init__.py"}


def test_whatever_is_printed_is_a_literal_or_printable():
    """Each print of the project; a new one that may show data goes through `printable`, or through `console.say`."""
    raw = []
    for path in [*(ROOT / "stages").rglob("*.py"), *(ROOT / "flows").rglob("*.py")]:
        name = path.relative_to(ROOT).as_posix()
        if name in OF_OUR_OWN:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Name) and call.func.id == "print":
                raw += [f"{name}:{call.lineno}" for value in call.args if not _is_shown_as_text(value)]
    assert raw == []


def _is_shown_as_text(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id == "printable"
    return isinstance(value, ast.Constant)


def test_an_example_of_the_summary_is_shown_as_text():
    assert list(lines.entry("example", [lines.shortened(f"Say {HOSTILE}.\r")])) == [f"example     Say {SHOWN}."]


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 KiB"),
        (60_000, "59 KiB"),
        (3 << 20, "3 MiB"),
        (console.GIB // 10, "102 MiB"),
        (console.GIB, "1.0 GiB"),
        (3 * console.GIB // 2, "1.5 GiB"),
    ],
)
def test_sizes_for_people(count, shown):
    assert console.size(count) == shown
