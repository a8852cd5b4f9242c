"""Every command of the documentation exists, and takes what it is given. `test_walk` runs those that run anywhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.docs import pages, shell
from tests.root import ROOT

BLOCKS = pages.all_blocks()
#: What a block may need, and so is not run by the walk.
NEEDS = {"browser", "export", "gpus", "jq", "judgement", "minutes", "network", "ollama", "server", "terminal"}
#: What stands between backticks and is a command.
COMMAND = re.compile(r"(?:[A-Z_]+=\w+ )?(?:(?:\.venv/bin/)?python -m|make|dvc) [a-z]")

_PARSE = """
import json, sys
from dvc.cli.parser import get_main_parser

problems = []
for words in json.load(sys.stdin):
    try:
        get_main_parser().parse_args(words)
    except (Exception, SystemExit) as error:
        problems.append(f"dvc {' '.join(words)}: {error!r}")
print(json.dumps(problems))
"""


def inline_commands(page: str) -> list[str]:
    return [one for one in pages.inline(page) if COMMAND.match(one) and "..." not in one]


def name(block: pages.Block) -> str:
    return f"{block.page}:{block.line}"


@pytest.mark.parametrize("block", BLOCKS, ids=name)
def test_commands_in_blocks_exist_and_take_what_they_are_given(block):
    assert block.needs is None or block.needs in NEEDS
    for line in block.commands():
        for words in shell.simple_commands(line):
            assert shell.problem(words) is None, f"{name(block)}: {line}"


@pytest.mark.parametrize("page", pages.GUIDES)
def test_commands_in_the_text_exist_and_take_what_they_are_given(page):
    for line in inline_commands(page):
        for words in shell.simple_commands(line):
            assert shell.problem(words) is None, f"{page}: {line}"


def test_dvc_takes_the_commands():
    lines = [line for block in BLOCKS for line in block.commands()]
    lines += [line for page in pages.GUIDES for line in inline_commands(page)]
    commands = [words[1:] for line in lines for words in shell.simple_commands(line) if words[0] == "dvc"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PARSE],
        input=json.dumps(commands),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert len(commands) > 10
    assert json.loads(done.stdout) == []


def test_a_command_that_is_wrong_is_found():
    assert shell.problem(["make", "runn"]) == "make runn: no such target"
    assert shell.problem(["make", "profile", "PROFILE=gpt3"]) == "PROFILE=gpt3: no such profile"
    assert shell.problem(["python", "-m", "flows.nothing"]) == "flows.nothing: no such module"
    assert shell.problem(["python", "-m", "flows.run", "--sets", "a=1"]) == "flows.run: unknown --sets"
    assert "finetune.epoch" in str(shell.problem(["python", "-m", "flows.run", "--set", "finetune.epoch=1"]))
    assert "finetune.epochs" in str(shell.problem(["dvc", "exp", "run", "-S", "finetune.epochs=0"]))
    assert "finetune.seed" in str(shell.problem(["dvc", "exp", "run", "--queue", "-S", "finetune.seed=1,x"]))
    assert shell.problem(["rm", "-rf", "x"]) == "rm: not a program that the documentation uses"


def test_a_line_is_divided_into_its_commands():
    line = "digest=$(sha256sum rows.json | cut -d ' ' -f 1); A=1 make run && git commit -am 'My first run'"

    assert list(shell.simple_commands(line)) == [
        ["sha256sum", "rows.json"],
        ["cut", "-d", " ", "-f", "1"],
        ["make", "run"],
        ["git", "commit", "-am", "My first run"],
    ]
