"""Install packages by pip, and say how far it is: `python tools/install.py -r FILE [OPTION ...]`, for `make setup`.

The arguments are those of `pip install`. It needs the standard library alone: nothing is installed yet.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

#: Seconds between two lines about packages that are found quickly.
_SECONDS = 10.0
#: A download of so many MB or more is told when it begins.
_LARGE = 50.0

_FOUND = re.compile(r"(?:Collecting|Requirement already satisfied:) ([A-Za-z0-9._-]+)")
_DOWNLOAD = re.compile(r"\s+Downloading \S+ \(([\d.]+) (kB|MB|GB)\)")
_INSTALLS = "Installing collected packages:"


def progress(lines: Iterable[str], total: int) -> Iterator[str]:
    """What is said of pip's lines.

    Args:
        lines: pip's lines, as they come.
        total: number of packages that are asked for.
    """
    names: dict[str, None] = {}
    name, told = "", time.monotonic()
    for line in lines:
        if found := _FOUND.match(line):
            name = re.split(r"[=<>!~;\[]", found[1])[0]
            names[name] = None
            if time.monotonic() - told >= _SECONDS:
                told = time.monotonic()
                yield f"  {min(len(names), total)} of {total} packages found: {name}"
        elif (size := _DOWNLOAD.match(line)) and _megabytes(*size.groups()) >= _LARGE:
            told = time.monotonic()
            yield f"  downloading {name}, {size[1]} {size[2]}"
        elif line.startswith(_INSTALLS):
            count = line.removeprefix(_INSTALLS).count(",") + 1
            yield f"  installing {count} of {total} packages (a minute or two)"


def _megabytes(number: str, unit: str) -> float:
    return float(number) * {"kB": 0.001, "MB": 1.0, "GB": 1000.0}[unit]


def asked_for(path: Path) -> int:
    """The number of packages that a requirements file names, with those of the files that it includes."""
    lines = path.read_text(encoding="utf-8").splitlines()
    included = (path.parent / line.removeprefix("-r ").strip() for line in lines if line.startswith("-r "))
    return sum(line[:1].isalnum() for line in lines) + sum(map(asked_for, included))


def main(arguments: list[str]) -> int:
    """Run pip, and return its exit code."""
    began = time.monotonic()
    total = asked_for(Path(arguments[arguments.index("-r") + 1]))
    command = [sys.executable, "-m", "pip", "install", "--use-pep517", "--progress-bar=off", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", errors="replace") as pip:
        assert pip.stdout
        for line in progress(pip.stdout, total):
            print(line, flush=True)
    if pip.returncode == 0:
        print(f"  done in {time.monotonic() - began:.0f} s", flush=True)
    return pip.returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on")
