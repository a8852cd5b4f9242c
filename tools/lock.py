"""Resolve pyproject.toml with uv into requirements.lock and those for tests, exports and CUDA beside it.

requirements-book.lock pins the book's package for `pip install --no-deps --ignore-requires-python`. The tests need none
of its dependencies, which include TensorFlow, Jupyter and an older numpy. Its metadata allows Python up to 3.13, which
pip reads as 3.13.0.

One resolution serves Python 3.11 to 3.13 and every platform. torch's CUDA packages become constraints: they are
installed only if the build of torch that pip chooses needs them, so that a machine with a CPU build stays small.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from stages.common.errors import ConfigError
from stages.running import program
from stages.running.arguments import Parser

CUDA = re.compile(r"(nvidia-|cuda-|triton)")

RUN_HEADER = """\
# Every package that the pipeline runs on, for Python 3.11 to 3.13. Made by `make lock`.
-c requirements-cuda.lock
"""
DEV_HEADER = """\
# What tests and linters need in addition. Made by `make lock`.
-r requirements.lock
"""
EXPORT_HEADER = """\
# What `python -m flows.export --to gguf` needs in addition (the extra export). Made by `make lock`.
-r requirements.lock
"""
CUDA_HEADER = """\
# The CUDA packages of torch's GPU builds: constraints, not a list to install. Made by `make lock`.
"""
BOOK = "llms-from-scratch"
BOOK_HEADER = """\
# The book's own code, with which a test compares our losses; without its dependencies. Made by `make lock`.
"""


def resolve(*extras: str) -> list[str]:
    """Every package of the resolution, one ``name==version ; marker`` a line.

    Raises:
        ConfigError: uv does not resolve pyproject.toml, and has said why.
    """
    options = [option for extra in extras for option in ("--extra", extra)]
    command = ["uv", "pip", "compile", "pyproject.toml", "--universal", "--python-version", "3.11", *options]
    done = subprocess.run([*command, "--no-annotate", "--no-header", "--quiet"], check=False, stdout=subprocess.PIPE)
    if done.returncode != 0:
        raise ConfigError(f"pyproject.toml: uv does not resolve it: {done.returncode}", "correct it, then make lock")
    return done.stdout.decode().splitlines()


def book() -> list[str]:
    """The book's package as the extra ``bench`` pins it."""
    extras = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    return [entry for entry in extras["bench"] if entry.startswith(f"{BOOK}==")]


def main() -> None:
    """Write the five files.

    Raises:
        ConfigError: uv does not resolve pyproject.toml.
    """
    Parser(prog="python -m tools.lock", description=__doc__).parse_args()
    run = resolve()
    extras = {name: resolve(name) for name in ("dev", "export")}
    for name, lines in extras.items():
        if strangers := set(run) - set(lines):
            sys.exit(f"the resolution with the extra {name} changes packages of the one without: {sorted(strangers)}")
    write("requirements-cuda.lock", CUDA_HEADER, [line for line in run if CUDA.match(line)])
    write("requirements.lock", RUN_HEADER, [line for line in run if not CUDA.match(line)])
    write("requirements-dev.lock", DEV_HEADER, [line for line in extras["dev"] if line not in run])
    write("requirements-export.lock", EXPORT_HEADER, [line for line in extras["export"] if line not in run])
    write("requirements-book.lock", BOOK_HEADER, book())


def write(name: str, header: str, lines: list[str]) -> None:
    """Write one file."""
    Path(name).write_text(header + "".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    program.run("lock", main)
