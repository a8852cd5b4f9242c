"""Grading at a real terminal: each key is kept at once, and a grading that was ended goes on."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.grading import kept, terminal
from stages.common.errors import DataError, TemporaryFailure
from tests.flows.grading.made import fill
from tests.root import ROOT

SECONDS = 60.0


class Grading:
    """`python -m flows.grade . --here` on a terminal of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._ours, theirs = pty.openpty()
        self._seen = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows.grade", ".", "--here", *options],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def until(self, text: str) -> str:
        """What is shown from now on up to a text."""
        deadline = time.monotonic() + SECONDS
        while text not in self._seen:
            assert time.monotonic() < deadline, f"{text!r} never came; there is {self._seen!r}"
            if select.select([self._ours], [], [], 0.1)[0]:
                self._seen += os.read(self._ours, 65536).decode(errors="replace")
        found, _, self._seen = self._seen.partition(text)
        return found

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(SECONDS)
        os.close(self._ours)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[list[Grading]]:
    fill(tmp_path, rows=8)
    made: list[Grading] = []
    yield made
    for one in made:
        one.close()


def scores(folder: Path) -> list[float | None]:
    (file,) = (folder / ".cache" / "grading").glob("*.jsonl")
    return [json.loads(line)["score"] for line in file.read_text().splitlines()]


@pytest.mark.thorough
def test_keys_grade_go_back_skip_and_quit(tmp_path: Path, opened: list[Grading]) -> None:
    opened.append(first := Grading(tmp_path, "--rows", "3"))
    assert "9: 100 points" in first.until("1 of ")
    shown = first.until("grade: ")
    assert "instruction:\r\n  Say " in shown
    assert "tuned" not in shown
    assert "base" not in shown
    first.type("9")
    first.until("2 of ")
    first.until("grade: ")
    assert scores(tmp_path) == [100.0], "the first key is kept before the second"
    first.type("x")
    first.until("s skips")
    first.type("0")
    first.until("3 of ")
    first.until("grade: ")
    first.type("b")
    first.until("2 of ")
    assert "(graded 0)" in first.until("grade: ")
    first.type("5")
    first.until("3 of ")
    first.until("grade: ")
    first.type("s")
    first.until("4 of ")
    first.until("grade: ")
    assert scores(tmp_path) == [100.0, 55.6, None]
    first.type("q")
    first.until("\r\n2 of ")
    first.until(" answers graded")
    first.until("python -m flows.grade . --collect")
    assert first.process.wait(SECONDS) == 0


@pytest.mark.thorough
def test_after_the_last_answer_one_can_go_back(tmp_path: Path, opened: list[Grading]) -> None:
    opened.append(grading := Grading(tmp_path, "--rows", "1"))
    shown = grading.until("grade: ")
    if "1 of 2" in shown:
        grading.type("3")
        grading.until("2 of 2")
        grading.until("grade: ")
    grading.type("3")
    grading.until("any other key ends: ")
    grading.type("b")
    assert "(graded 33.3)" in grading.until("grade: ")
    grading.type("4")
    grading.until("any other key ends: ")
    assert scores(tmp_path)[-1] == 44.4
    grading.type("q")
    grading.until("--collect")
    assert grading.process.wait(SECONDS) == 0


@pytest.mark.thorough
def test_keys_with_a_sequence_and_a_paste_are_no_grades(tmp_path: Path, opened: list[Grading]) -> None:
    """Delete, PageUp, F5, F1, the cursor keys and Escape grade nothing; of a paste the first key counts."""
    opened.append(grading := Grading(tmp_path, "--rows", "3"))
    grading.until("grade: ")
    for sequence in ("\x1b[3~", "\x1b[5~", "\x1b[15~", "\x1bOP", "\x1b[A", "\x1b[1;5D", "\x1b"):
        grading.type(sequence)
        time.sleep(0.2)
    assert not list(tmp_path.glob(".cache/grading/*.jsonl"))
    grading.type("9")
    assert "(graded" not in grading.until("2 of ")
    grading.until("grade: ")
    grading.type("0123456789" * 20)
    grading.until("3 of ")
    grading.until("grade: ")
    time.sleep(0.3)
    assert scores(tmp_path) == [100.0, 0.0]
    grading.type("q")
    grading.until("\r\n2 of ")
    grading.until("--collect")
    assert grading.process.wait(SECONDS) == 0


@pytest.mark.thorough
def test_what_a_kill_ends_goes_on_at_the_next_answer(tmp_path: Path, opened: list[Grading]) -> None:
    opened.append(first := Grading(tmp_path, "--rows", "8"))
    for number in range(1, 11):
        first.until(f"{number} of 14")
        first.until("grade: ")
        first.type("7")
    first.until("11 of 14")
    os.kill(first.process.pid, signal.SIGKILL)
    opened.append(second := Grading(tmp_path, "--rows", "8"))
    second.until("11 of 14")
    second.until("grade: ")
    second.type("\x04")
    second.until("10 of 14 answers graded")
    command = [sys.executable, "-m", "flows.grade", ".", "--collect"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "terminal: 10 graded" in done.stdout
    assert "calibration:\n    source: grades/" in (tmp_path / "params.yaml").read_text()


@pytest.mark.thorough
def test_a_second_terminal_is_refused_and_the_first_loses_nothing(tmp_path: Path, opened: list[Grading]) -> None:
    opened.append(first := Grading(tmp_path, "--rows", "3"))
    first.until("grade: ")
    first.type("9")
    first.until("2 of ")
    opened.append(second := Grading(tmp_path, "--rows", "3"))
    second.until("another terminal grades these answers")
    second.until("press q there and run this command again")
    assert second.process.wait(SECONDS) == 75
    first.until("grade: ")
    first.type("0")
    first.until("3 of ")
    assert scores(tmp_path) == [100.0, 0.0]
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait(SECONDS)
    opened.append(third := Grading(tmp_path, "--rows", "3"))
    third.until("3 of ")
    third.until("grade: ")
    third.type("q")
    third.until("\r\n2 of ")
    assert third.process.wait(SECONDS) == 0


def test_the_grades_of_other_answers_have_a_lock_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "grading" / "a.jsonl"
    refused = pytest.raises(TemporaryFailure, match=r"a\.jsonl: another terminal")
    with kept.alone(file), kept.alone(tmp_path / "grading" / "b.jsonl"), refused, kept.alone(file):
        pass
    with kept.alone(file):
        kept.write(file, {"a": 5.0})
    assert kept.read(file) == {"a": 5.0}


def test_without_a_terminal_it_says_so(tmp_path: Path) -> None:
    fill(tmp_path, rows=2)
    command = [sys.executable, "-m", "flows.grade", ".", "--here"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    assert "--here: standard input is no terminal" in done.stderr


def test_the_points_of_the_keys() -> None:
    assert list(terminal.POINTS.values()) == [0.0, 11.1, 22.2, 33.3, 44.4, 55.6, 66.7, 77.8, 88.9, 100.0]


def test_a_broken_file_of_grades_is_named_and_stays(tmp_path: Path) -> None:
    file = tmp_path / "grades.jsonl"
    kept.write(file, {"a": 5.0, "b": None})
    assert kept.read(file) == {"a": 5.0, "b": None}
    file.write_text('{"key": "a", "score": 101.0}\n')
    with pytest.raises(DataError, match="line 1: score: expected 100 or less"):
        kept.read(file)
