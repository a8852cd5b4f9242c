"""The command line of a run and how it ends: what `flows.run` and the process that it starts have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn

from flows import profiles
from stages.common.errors import PipelineError, TemporaryFailure
from stages.common.printable import printable
from stages.params import options
from stages.running import streams
from stages.running.arguments import Parser, whole_number
from stages.running.checks import preflight
from stages.running.checks.preflight import Mode

#: The fewest and the most trainings of one recipe in a run: one has no spread, and a typing error is no day's work.
LEAST, MOST = 2, 50
STOPPED = "stopped; run the same command again to go on"


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Args:
        profile: the name of a profile, or `profiles.CURRENT`.
        overrides: values by dotted key.
        force: whether every stage is to run.
        preflight: what becomes of a problem that is found before the run.
        trainings: how often the recipe is trained, each time with another seed; 0 for one run as params.yaml says.
    """

    profile: str
    overrides: dict[str, object]
    force: bool
    preflight: Mode = "fail"
    trainings: int = 0

    @property
    def in_place(self) -> bool:
        """Whether the run works in the project's folder, with params.yaml as it is."""
        return self.profile == profiles.CURRENT and not self.overrides and not self.trainings


def parse(program: str, description: str, *, trainings: Literal["none", "may be", "must be"] = "none") -> Request:
    """Read the command line of a run.

    Args:
        program: name of the program in its help.
        description: what the help says of it.
        trainings: whether a number of trainings is given.

    Raises:
        ConfigError: an option is unknown, a number is none, or a --set is not KEY=VALUE.
        SystemExit: the help was asked for.
    """
    parser = Parser(
        prog=program,
        description=description,
        epilog="Exit codes: 0 success; 65 data, 69 a service, 74 files, 75 interrupted (run the command again), "
        "78 params.yaml, an option or an environment variable; 137 killed twice.",
    )
    parser.add_argument(
        "--profile",
        default=profiles.CURRENT,
        metavar="NAME",
        help="run with the values of profiles/NAME.yaml over those of params.yaml, in a copy of the last commit",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="run with another value, such as finetune.epochs=3, in a copy of the last commit; may be given repeatedly",
    )
    parser.add_argument("--force", action="store_true", help="run every stage, even if nothing has changed")
    parser.add_argument(
        "--preflight",
        choices=("fail", "warn"),
        help="what to do about a problem found before the run, such as a judge that does not answer: fail begins "
        "nothing (the default), warn says it and runs what can be run",
    )
    if trainings != "none":
        parser.add_argument(
            "trainings",
            type=whole_number(LEAST, MOST),
            metavar="N",
            nargs=None if trainings == "must be" else "?",
            help=f"trainings of the recipe, from {LEAST} to {MOST}, each with another finetune.seed",
        )
    found = parser.parse_args()
    overrides = dict(map(options.parse, found.set))
    asked = found.preflight or preflight.mode("fail")
    return Request(found.profile, overrides, found.force, asked, getattr(found, "trainings", None) or 0)


def run(main: Callable[[], None]) -> NoReturn:
    """Run a program's ``main`` and end the process with the exit code that `stages.common.errors` gives."""
    streams.prepare()
    try:
        main()
        with streams.results():
            pass  # what it has printed is written out
    except (PipelineError, OSError) as found:
        error = streams.as_ours(found)
        fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        fail(STOPPED, TemporaryFailure.exit_code)
    sys.exit(0)


def succeed(message: str, results: str) -> None:
    """Print how a run ended, and its results."""
    with streams.results():
        print(printable(f"{message}\n\n{results}"))


def fail(message: str, code: int) -> NoReturn:
    """Print what went wrong, and end the process with an exit code."""
    streams.complain(message if message.startswith("pipeline:") else f"pipeline: {message}")
    sys.exit(code)
