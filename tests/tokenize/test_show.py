"""The tokens of a row, as they are shown."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from stages.common.results.tokenize import Encoded
from stages.gpt2.tokenizer import END_OF_TEXT
from stages.tokenize.show import lines
from tests.root import ROOT
from tests.tokenize.test_stage import project, run

__all__ = ["project"]


class Bytes:
    """A tokenizer that makes one id of each byte."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(ids).decode(errors="replace")


ROW = Encoded(id="r", ids=[*b"a\nb", *b"c\xc3", END_OF_TEXT], prompt_length=3)


def test_masked_and_trained_tokens_by_hand() -> None:
    assert list(lines(ROW, Bytes(), "response", 9, coloured=False)) == [
        r"masked      3 tokens: |a|\n|b|",
        "trained     3 tokens: |c|<195>|<|endoftext|>|",
    ]
    assert list(lines(ROW, Bytes(), "all", 5, coloured=False)) == [
        "masked       1 token: |a|",
        r"trained     4 tokens: |\n|b|c|<195>|",
        "cut          1 token: |<|endoftext|>|",
    ]
    assert list(lines(ROW, Bytes(), "response", 3, coloured=True)) == [
        "cut         6 tokens: \x1b[31m|a|\\n|b|c|<195>|<|endoftext|>|\x1b[0m",
        "the prompt alone fills the 3 tokens of tokenize.context_length: the row is dropped",
    ]


def test_a_row_cannot_command_the_terminal_and_long_rows_are_wrapped() -> None:
    row = Encoded(id="r", ids=[*b"\x1b[2J", *b"word " * 60], prompt_length=4)
    shown = list(lines(row, Bytes(), "response", 999, coloured=False))
    assert shown[0] == r"masked      4 tokens: |\x1b|[|2|J|"
    assert len(shown) > 5
    assert max(map(len, shown)) <= 120


def show(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stages.tokenize", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_program_shows_a_row_and_writes_nothing(project: Path) -> None:
    assert run(project, 32).returncode == 0
    before = {path: path.read_bytes() for path in (project / "artifacts").rglob("*") if path.is_file()}

    done = show(project, "--show", "train-0", "--style", "phi3")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "row train-0 of train, prompt style phi3, loss over all",
        "masked       1 token: |<|",
        r"trained    20 tokens: |||user|||>|\n|Name| a| colour|.|\n|<|||ass|istant|||>:|\n|Blue|.|<|endoftext|>|",
    ]
    assert show(project, "--show=test:1").stdout.startswith("row test-0 of test, prompt style phi3, loss over all\n")
    assert "cut" not in show(project, "--show", "test:1").stdout
    assert "\ncut " in show(project, "--show", "train:2").stdout
    assert {path: path.read_bytes() for path in (project / "artifacts").rglob("*") if path.is_file()} == before


def test_tokens_are_in_colour_on_a_terminal(project: Path) -> None:
    assert run(project, 32).returncode == 0
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "stages.tokenize", "--show", "val:1"]
    subprocess.run(command, cwd=project, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=theirs, check=True)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "\x1b[90m|<|\x1b[0m" in shown
    assert "\x1b[32m|" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--show", "train"],
            "train: expected the id of one row in artifacts/split, or the beginning of it; found 2 rows",
        ),
        (["--show", "x"], "x: expected the id of one row in artifacts/split, or the beginning of it; found no row"),
        (["--show", "test:2"], "test:2: expected one of train:1 to train:2, test:1 to test:1, val:1 to val:1"),
        (["--show", "test:0"], "test:0: expected one of "),
        (["--show", "test:" + "9" * 5000], "expected one of "),
        (["--show", "val:1", "--style", "y"], "--style: invalid choice: 'y'"),
        (["--show"], "--show: expected one argument"),
        (["--show", "val:1", "--shwo"], "unexpected: --shwo; did you mean --show?"),
    ],
)
def test_a_row_that_is_not_there(project: Path, arguments: list[str], said: str) -> None:
    assert run(project, 32).returncode == 0
    failed = show(project, *arguments)
    assert failed.returncode == 78
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr
