"""Put results into MLflow: `python -m flows.publish [REV ...]`.

For a run during which MLflow was down, for a store that was lost, and for another store. REV is a git revision, a range
of them such as `main~3..main`, a DVC experiment, or a folder with a dvc.lock, such as one of .cache/seeds; without one
it is this folder. Results are found in files, in DVC's cache or in a remote. What MLflow has is not added once more.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from flows import folder, workspace
from flows.again import gathered, revisions
from flows.again.revisions import Revision
from flows.tool_settings import set_defaults
from stages.common import paths
from stages.common.errors import ConfigError, DataError
from stages.common.printable import printable
from stages.common.secrecy import hidden
from stages.running import misrecorded, program, project, report, temporary
from stages.running.arguments import Parser
from stages.running.console import say
from stages.running.tracking import late, mlflow_access


def main() -> None:
    """Publish the results of the command line, and say which run has them.

    Raises:
        ConfigError: the working directory is no project's, or an argument names nothing.
        DataError: there are no results, or they are not those of dvc.lock and params.yaml.
        ServiceUnavailable: MLflow does not take them.
        SystemExit: of several revisions some could not be published, which was said.
    """
    parser = Parser(prog="python -m flows.publish", description=__doc__)
    parser.add_argument(
        "revisions",
        metavar="REV",
        nargs="*",
        help="a git revision, a range, a DVC experiment or a folder with a dvc.lock",
    )
    words = parser.parse_args().revisions
    root = Path.cwd()
    project.require(root)
    folder.check_writable(root)
    os.environ["MLFLOW_TRACKING_URI"] = mlflow_access.uri(root)  # what is gathered is in another folder
    if words:
        _publish_all(root, revisions.named(root, words))
        return
    with workspace.alone(root, log=say):  # a run at work replaces its results one after the other
        misrecorded.look_back(root)
        if gathered.absent(root):
            _publish(root, Revision("this folder", folder=root))
        else:
            report.make(root)
            _tell("", late.publish(root, f"{socket.gethostname()}:{root}"))


def _publish_all(root: Path, found: list[Revision]) -> None:
    """Publish revisions one after the other; of several the errors are told, and end the program when all are done."""
    codes = []
    for one in found:
        try:
            _publish(root, one)
        except (ConfigError, DataError) as error:
            if len(found) == 1:
                raise
            print(printable(hidden(f"publish: {error}")), file=sys.stderr, flush=True)
            codes.append(error.exit_code)
    if codes:
        say(f"{len(found) - len(codes)} of {len(found)} are in MLflow; what is wrong with the others is said above")
        sys.exit(codes[0])


def _publish(root: Path, one: Revision) -> None:
    with temporary.folder() as into:
        collected = revisions.collect(root, one, into)
        (into / paths.CACHE).symlink_to(root / paths.CACHE)
        at = f"commit {one.commit[:7]}, " if one.commit else ""
        source = f"{socket.gethostname()}:{one.folder or root}: {at}{collected.found.told}"
        _tell(f"{one.name}: ", late.publish(into, source, collected.provenance))
        if missing := ", ".join(map(str, collected.found.missing)):
            say(f"{one.name}: in no file, cache or remote{collected.found.unasked}, and so not in the run: {missing}")


def _tell(whose: str, run: late.Late) -> None:
    done = "published as" if run.is_new else "MLflow has these results already:"
    say(f"{whose}{done} run {run.name} ({run.run_id}) at {mlflow_access.shown_uri()}")


if __name__ == "__main__":
    set_defaults()
    program.run("publish", main)
