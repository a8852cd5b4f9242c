"""The command lines of our programs: a mistake is a message with exit code 78, and no usage."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.errors import ConfigError
from stages.running.arguments import Parser, whole_number
from tests.root import ROOT


def parser() -> Parser:
    made = Parser(prog="python -m flows.example")
    made.add_argument("n", type=whole_number(2, 50), metavar="N")
    made.add_argument("--rows", type=whole_number(1), metavar="N")
    made.add_argument("--how", choices=("fail", "warn"))
    return made


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["two"], "N: expected a whole number from 2 to 50, found 'two'"),
        (["1"], "N: expected a whole number from 2 to 50, found '1'"),
        (["51"], "N: expected a whole number from 2 to 50, found '51'"),
        (["-3"], "N: expected a whole number from 2 to 50, found '-3'"),
        (["2.0"], "N: expected a whole number from 2 to 50, found '2.0'"),
        ([""], "N: expected a whole number from 2 to 50, found ''"),
        (["5", "--rows", "0"], "--rows: expected a whole number of at least 1, found '0'"),
        (["5", "--rows"], "--rows: expected one argument"),
        ([], "missing: N"),
        (["5", "--row", "3"], "unexpected: --row 3; did you mean --rows?"),
        (["5", "6"], "unexpected: 6"),
        (["5", ""], "unexpected: an empty argument"),
        (["5", "", " "], "unexpected: an empty argument"),
    ],
)
def test_a_mistake_is_one_message_and_the_command_that_helps(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parser().parse_args(arguments)

    assert caught.value.what == said
    assert caught.value.fix == "python -m flows.example --help tells what it takes"
    assert capsys.readouterr() == ("", "")


def test_an_unknown_choice_is_told_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"--how: invalid choice: '?maybe'? \(choose from '?fail'?, '?warn'?\)"):
        parser().parse_args(["5", "--how", "maybe"])


@given(st.integers(2, 50))
def test_a_number_within_the_bounds_is_read(number: int) -> None:
    assert parser().parse_args([str(number)]).n == number


@given(st.text(max_size=30) | st.integers().map(str) | st.just("9" * 5000))
def test_a_text_is_a_number_within_the_bounds_or_refused(text: str) -> None:
    read = whole_number(2, 50)
    if text.isdecimal() and len(text) < 20 and 2 <= int(text) <= 50:
        assert read(text) == int(text)
    else:
        with pytest.raises(ArgumentTypeError) as caught:
            read(text)
        assert str(caught.value) == f"expected a whole number from 2 to 50, found {text!r}"


def test_no_other_parser_prints_its_usage() -> None:
    used = [
        path.relative_to(ROOT).as_posix()
        for folder in ("flows", "stages", "tools")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "ArgumentParser(" in path.read_text(encoding="utf-8")
    ]
    assert used == []


@pytest.mark.parametrize(
    "module", ["tools.grades", "tools.dvc_deps", "tools.decisions_index", "tools.lock", "flows.databases"]
)
def test_the_help_of_a_program_is_all_that_it_does(tmp_path: Path, module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: python -m {module} ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
@pytest.mark.parametrize(
    "command",
    [
        ["flows.seeds", "two"],
        ["flows.run", "--prefligt=warn"],
        ["flows.grade", ".", "--rows", "x"],
        ["flows.grade", ".", ""],
        ["flows.runs", "-n", "x"],
        ["flows.servers", "--mlflow-port", "x"],
        ["flows.doctor", "--jsn"],
        ["flows.gpus", "x"],
        ["flows.publish", "x"],
        ["flows.deploy", "x"],
        ["flows.profiles"],
        ["flows.chat", "--model"],
        ["stages.generate.conversation", "--top-k", "x"],
        ["stages.judge.runs.compare", "a", "b", "--seed", "-1"],
        ["stages.judge.runs.spread"],
        ["tools.judge_check", "--repeats", "1"],
        ["flows.databases", "x"],
        ["tools.grades", "--no"],
        ["tools.dvc_deps", "--wirte"],
        ["tools.decisions_index", "x"],
        ["tools.lock", "x"],
    ],
    ids=lambda command: " ".join(command),
)
def test_every_program_ends_with_78(tmp_path: Path, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "utf-8", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78, done.stderr
    assert "usage:" not in done.stdout + done.stderr
    assert "\n  to fix it: " in done.stderr
