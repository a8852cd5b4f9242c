"""Say what is wrong with this machine and this folder, and what fixes it: `python -m flows.doctor [--json]`.

A line for each thing that a run depends on: ok, warning or problem. It changes nothing and takes seconds.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flows import command_line
from flows.checks import folders, network, packages, repository, tracking
from flows.checks import prefect as prefect_checks
from flows.tool_settings import set_defaults
from stages.common.printable import printable
from stages.common.secrecy import hidden
from stages.running import project, streams
from stages.running.arguments import Parser
from stages.running.checks.row import Row, exit_code, guarded
from stages.running.console import fitted
from stages.running.dvc_yaml import PIPELINE

Check = Callable[[], Iterator[Row]]

#: The checks that take more than a second or two: they import every package that the pipeline uses.
_SLOW = ("stages", "packages")
#: Characters of the longest name of a row, and those before its text.
_NAME = len("Prefect automations")
_INDENT = len("problem  ") + _NAME + len("  ")


def checks(root: Path) -> dict[str, Check]:
    """Every check by what it looks at, in the order in which people read them."""
    return {
        "Python": packages.python,
        "packages": packages.packages,
        "disk": functools.partial(folders.folders, root),
        "memory": folders.memory,
        "bf16": packages.bf16,
        "GPUs": folders.gpus,
        "git": functools.partial(repository.repository, root),
        "git identity": functools.partial(repository.identity, root),
        "params.yaml": functools.partial(repository.values, root),
        "DVC": functools.partial(repository.dvc, root),
        "DVC remote": functools.partial(repository.remotes, root),
        "Prefect": prefect_checks.prefect,
        "MLflow": functools.partial(tracking.mlflow, root),
        "proxies": network.proxies,
        "stages": functools.partial(network.stages, root),
    }


def look(named: Mapping[str, Check], tell: Callable[[Row], None] = lambda _: None) -> list[Row]:
    """The rows of all checks, which run side by side.

    Args:
        named: the checks by what they look at, in the order of the rows.
        tell: function that gets each row as soon as it is known: in order, the slow checks last.
    """
    with ThreadPoolExecutor(len(named)) as pool:
        found = {name: pool.submit(lambda one: list(guarded(*one)), (name, check)) for name, check in named.items()}
        for name in sorted(named, key=lambda name: name in _SLOW):
            for row in found[name].result():
                tell(row)
    return [row for one in found.values() for row in one.result()]


def line(row: Row) -> str:
    """A row for people: several lines where there is more to say than fits one."""
    first, *more = row.found.split("\n")
    lines = [fitted(f"{row.state:<8} {row.name:<{_NAME}}  {first}", _INDENT)]
    lines += [" " * _INDENT + text for text in more]
    if row.fix:
        lines.append(f"{'':<{_INDENT}}to fix it: {row.fix}")
    return "\n".join(lines)


def verdict(rows: Sequence[Row]) -> str:
    """What the rows come to."""
    counts = [
        f"{count} {state}{'' if count == 1 else 's'}"
        for state in ("problem", "warning")
        if (count := _count(rows, state))
    ]
    return " and ".join(counts) or "all is well"


def _count(rows: Sequence[Row], state: str) -> int:
    return sum(row.state == state for row in rows)


def main() -> None:
    """Look, print, and end with the exit code of the first problem."""
    parser = Parser(
        prog="python -m flows.doctor",
        description=__doc__,
        epilog="Exit codes: 0 without a problem; else that of the first: 65 data, 69 a service, 74 files, 78 "
        "params.yaml, a package or an environment variable.",
    )
    parser.add_argument("--json", action="store_true", help="print the rows as a JSON list")
    asked = parser.parse_args()
    root = Path.cwd()
    project.require(root, PIPELINE)
    if asked.json:
        rows = look(checks(root))
        _print(json.dumps([row.model_dump(exclude={"absent"}) for row in rows], indent=2))
    else:
        _print("looking at this machine and this folder ...")
        rows = look(checks(root), lambda row: _print(line(row)))
        _print(f"\n{verdict(rows)}")
    sys.exit(exit_code(rows))


def _print(text: str) -> None:
    with streams.results():  # the exit code is what the checks find, whoever reads of them
        print(printable(hidden(text)))


if __name__ == "__main__":
    set_defaults()
    command_line.run(main)
