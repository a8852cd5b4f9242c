"""Make a run again: `python -m flows.rerun RUN`, where RUN is the id or the name of an MLflow run.

It works in a copy of the run's commit, with the run's values and data. Every stage runs: nothing is taken from DVC's
cache, and none of the checkpoints, answers and verdicts that .cache keeps. What was interrupted goes on where it was.
Before that it names what differs from what the run was made on; after it, which outputs have the same MD5, stage by
stage. It ends with 0 where all are equal, and with 1 where one is not.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from flows import ahead, folder, workspace
from flows.again import original, outcome, preparation, rebuild
from flows.again.original import Original
from flows.again.preparation import WIDTH
from flows.tool_settings import set_defaults
from stages.common.errors import ConfigError
from stages.common.printable import printable
from stages.common.secrecy import hidden
from stages.running import program
from stages.running.arguments import Parser
from stages.running.inputs import Begun
from stages.running.tracking import additions, doors, lookup, mlflow_access, tracker
from stages.running.tracking.listing import figures_in

#: The tags of the run that makes another one again: that one's id and name, and whether all is equal.
OF, SOURCE, EQUAL = "rerun.of", "rerun.source", "rerun.equal"
#: The exit code where an output differs.
DIFFERS = 1


def main() -> None:
    """Make the run of the command line again.

    Raises:
        ConfigError: there is no such run, or no commit has its code.
        DataError: it keeps no dvc.lock, or its data are gone.
        NotMade: a stage has failed.
        SystemExit: an output differs.
    """
    name = _arguments().run
    root = Path.cwd()
    folder.check(root, copied=True)
    os.environ["MLFLOW_TRACKING_URI"] = mlflow_access.uri(root)  # the stages work in another folder
    found = original.of_run(root, name)
    tell(f"{'run':<{WIDTH}}{found.name}, {found.door}, commit {found.commit[:7] or 'unknown'}")
    commit = preparation.commit_of(root, found, tell=tell)
    with workspace.at_commit(root, commit, log=tell, key=found.run_id) as tree:
        preparation.put_values(tree, found)
        order = preparation.prepare(tree, found, tell=tell)
        nothing = "nothing that is known: versions, processor and device are those of the run"
        for number, line in enumerate(preparation.differences(found) or [nothing]):
            tell(f"{'' if number else 'differs':<{WIDTH}}{line}")
        ahead.look_in_flow(root, tree, "fail", force=True, log=tell)
        stages = _made_again(root, tree, found, order)
        for line in outcome.stage_lines(stages, found.figures, figures_in(tree)):
            tell(line)
    tell(outcome.result_line(stages))
    if not all(one.equal for one in stages):
        sys.exit(DIFFERS)


def tell(line: str) -> None:
    """Print a line for the user."""
    print(printable(hidden(line)), flush=True)


def _arguments() -> argparse.Namespace:
    parser = Parser(
        prog="python -m flows.rerun",
        description="Make a run again in a copy of its commit, and compare every output with what it was.",
        epilog="Exit codes: 0 all outputs are equal; 1 one differs; 65 its data are gone, or it keeps no dvc.lock; 75 "
        "another process is making it again; 78 there is no such run, or its code is in no commit; of a "
        "stage that fails its own.",
    )
    parser.add_argument("run", metavar="RUN", help="id or name of an MLflow run, or the beginning of one")
    return parser.parse_args()


def _made_again(root: Path, tree: Path, found: Original, order: list[str]) -> list[outcome.StageOutcome]:
    """Run the stages within an MLflow run of its own, and compare their outputs.

    Raises:
        NotMade: a stage has failed.
    """
    with _mlflow_run(tree, found) as run_id:
        variables = tracker.stage_variables(run_id)
        ran = list(rebuild.made_again(root, tree, order, tell=tell, variables=variables))
        tracker.publish(tree, run_id, ran=ran)
        stages = outcome.compared(found, preparation.outputs_in(tree))
        wrong = [one.stage for one in stages if not one.equal]
        additions.tag(run_id, {EQUAL: f"no: {', '.join(wrong)}" if wrong else "yes"})
    return stages


def _free_name(tree: Path, first: str) -> str:
    """The first of ``NAME-again``, ``NAME-again-2`` and so on that no run in MLflow has."""
    for number in itertools.count(1):
        name = first if number == 1 else f"{first}-{number}"
        with contextlib.suppress(ConfigError):  # several runs begin so
            if lookup.full_name(tree, name) is None:
                break
    return name


@contextlib.contextmanager
def _mlflow_run(tree: Path, found: Original) -> Iterator[str | None]:
    """An MLflow run for the block, which ends as the block does."""
    tags = {doors.TAG: doors.RERUN, OF: found.run_id, SOURCE: found.name}
    run_id = tracker.create_run(tree, name=_free_name(tree, f"{found.name}-again"), tags=tags, begun=Begun.of(tree))
    status: Literal["FINISHED", "FAILED", "KILLED"] = "KILLED"
    try:
        yield run_id
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        tracker.end(run_id, status)


if __name__ == "__main__":
    set_defaults()
    program.run("rerun", main)
