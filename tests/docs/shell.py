"""A command of the documentation, checked without being run: its program, module, options, make target and keys."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.params import reading, whole
from tests.root import ROOT

#: Programs that are not ours. What they are given cannot be checked without running them.
OTHERS = ("cp", "curl", "cut", "echo", "export", "jq", "mlflow", "mv", "ollama", "sha256sum", "source")
GIT = ("commit", "diff", "restore", "rev-list")
#: Modules of others that are run by `python -m`.
MODULES_OF_OTHERS = ("pytest", "venv")

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


def simple_commands(line: str) -> Iterator[list[str]]:
    """The words of each command in a line: of a pipe, of a list, and inside ``$(...)``.

    >>> list(simple_commands("x=$(sum f | cut -c 1); A=1 make run && git diff"))
    [['sum', 'f'], ['cut', '-c', '1'], ['make', 'run'], ['git', 'diff']]
    """
    for inner in re.findall(r"\$\(([^()]*)\)", line):
        yield from simple_commands(inner)
    lexer = shlex.shlex(re.sub(r"\$\([^()]*\)", "X", line), posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    command: list[str] = []
    for word in [*lexer, ";"]:
        if re.fullmatch(r"[|&;]+", word):
            while command and _ASSIGNMENT.match(command[0]):
                command = command[1:]
            if command:
                yield command
            command = []
        else:
            command.append(word)


def problem(words: list[str]) -> str | None:
    """What is wrong with a command; None if nothing can be seen to be."""
    program, arguments = Path(words[0]).name, words[1:]
    if program in ("python", "python3"):
        return _problem_of_python(arguments)
    if program == "make":
        return _problem_of_make(arguments)
    if program == "git":
        return None if arguments[0] in GIT else f"git {arguments[0]}: not among {', '.join(GIT)}"
    if program == "dvc":
        return _problem_of_dvc(arguments)
    if program == "pip":
        return None
    return None if program in OTHERS else f"{program}: not a program that the documentation uses"


def _problem_of_make(arguments: list[str]) -> str | None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    for word in arguments:
        name, _, value = word.partition("=")
        if name == "PROFILE" and value.islower() and not (ROOT / "profiles" / f"{value}.yaml").is_file():
            return f"{word}: no such profile"
        if "=" not in word and word not in targets:
            return f"make {word}: no such target"
    return None


def _problem_of_python(arguments: list[str]) -> str | None:
    if arguments[0] == "-c":
        compile(arguments[1], "-c", "exec")
        return None
    assert arguments[0] == "-m", arguments
    module, rest = arguments[1], arguments[2:]
    if re.search("[A-Z]", module) or module in MODULES_OF_OTHERS:  # stages.NAME stands for any of them
        missing = [word for word in rest if word.endswith(".py") and not (ROOT / word).is_file()]
        return f"{missing[0]}: no such file" if missing else None
    if not is_module(module):
        return f"{module}: no such module"
    if unknown := {word for word in rest if word.startswith("--")} - options(module):
        return f"{module}: unknown {', '.join(sorted(unknown))}"
    return _problem_of_values([value for option, value in pairwise(rest) if option == "--set"])


def _problem_of_dvc(arguments: list[str]) -> str | None:
    """What is wrong with the values of `dvc exp run -S`: with --queue, "a,b" stands for each of several."""
    given = [value for option, value in pairwise(arguments) if option == "-S"]
    if "--queue" not in arguments:
        return _problem_of_values(given)
    swept = [
        [f"{key}={one}" for one in written.split(",")] for key, _, written in (one.partition("=") for one in given)
    ]
    return next(filter(None, (_problem_of_values(list(values)) for values in product(*swept))), None)


def _problem_of_values(values: list[str]) -> str | None:
    """What is wrong with values by dotted key, put over params.yaml together."""
    tree = reading.read_yaml(ROOT / "params.yaml")
    for value in values:
        key, _, written = value.partition("=")
        if key.isupper():  # KEY=VALUE stands for any of them
            continue
        found: Any = YAML(typ="safe").load(re.sub(r"^\$\w+$", "'" + "0" * 64 + "'", written))
        for part in reversed(key.split(".")):
            found = {part: found}
        reading.merge(tree, found)
    try:
        whole.check(tree)
    except Exception as error:
        return str(error)
    return None


def is_module(name: str) -> bool:
    """Whether `python -m` finds a module of ours."""
    stem = ROOT.joinpath(*name.split("."))
    return stem.with_suffix(".py").is_file() or (stem / "__main__.py").is_file()


@cache
def options(module: str) -> set[str]:
    """The options that a module says it takes; those of a tool that takes none but ``--write`` are in its docstring."""
    if module == "flows":  # its arguments are another program's
        return {"--pool", "--param"}
    if module.startswith("tools."):
        stem = ROOT.joinpath(*module.split("."))
        program = stem / "__main__.py" if stem.is_dir() else stem.with_suffix(".py")
        return set(re.findall(r"--[a-z-]+", program.read_text()))
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"python -m {module} --help: {done.stderr}"
    return set(re.findall(r"--[a-z][a-z-]*", done.stdout))
