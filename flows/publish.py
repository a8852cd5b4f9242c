"""Put the results in this folder into MLflow: `python -m flows.publish`.

For a run during which MLflow was down, and for a store that was lost. Results that MLflow has already are not added
again.
"""

from __future__ import annotations

import socket
from pathlib import Path

from flows import folder, workspace
from flows.tool_settings import set_defaults
from stages.common import paths
from stages.common.errors import ConfigError
from stages.running import misrecorded, program, report
from stages.running.arguments import Parser
from stages.running.console import say
from stages.running.tracking import tracker


def main() -> None:
    """Publish the results in the working directory, and say which run has them.

    Raises:
        ConfigError: the working directory is no project's.
        DataError: there are no results, or they are not those of dvc.lock and params.yaml.
        ServiceUnavailable: MLflow does not take them.
    """
    Parser(prog="python -m flows.publish", description=__doc__).parse_args()
    root = Path.cwd()
    if not (root / paths.PARAMS).exists():
        raise ConfigError(f"{root}: no {paths.PARAMS} here", "run the command in the project's folder")
    folder.check_writable(root)
    with workspace.alone(root, log=say):  # a run at work replaces its results one after the other
        misrecorded.look_back(root)
        report.make(root)
        run = tracker.publish_files(root, f"{socket.gethostname()}:{root}")
    done = "published as" if run.is_new else "MLflow has these results already:"
    say(f"{done} run {run.name} ({run.run_id}) at {tracker.shown_uri()}")


if __name__ == "__main__":
    set_defaults()
    program.run("publish", main)
