"""`python -m flows.run [--profile NAME] [--set KEY=VALUE ...] [--force]`: one run of the pipeline, then its results.

It exits with the failing stage's exit code. With nothing to do it ends within seconds: it imports no Prefect, which
takes as long to import. The flow itself runs in a process of its own, `flows.supervised`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import psutil

from flows import (
    ahead,
    command_line,
    folder,
    prefect_server,
    profiles,
    servers_file,
    temporary_server,
    unchanged,
    waits,
    workspace,
)
from stages.common.printable import printable
from stages.running import misrecorded, report, signals, summary
from stages.running.checks import preflight

DESCRIPTION = """
Bring the pipeline up to date: run the stages whose code, data or values have changed, then print the results.
With --profile or --set the run works in a copy of the last commit, and the project's folder stays as it is.
"""


def main() -> None:
    """Run the flow if there is anything to do, and print the results."""
    asked = command_line.parse("python -m flows.run", DESCRIPTION)
    end_with_make()
    root = Path.cwd()
    folder.check(root, copied=not asked.in_place)
    profiles.overlaid(root, asked.profile, asked.overrides)  # refuses wrong values before anything runs
    if not asked.in_place:
        workspace.check_commit(root)
    misrecorded.look_back(root)
    with ahead.planned(root, asked) as planned:
        # Where nothing has changed as far as the files tell, DVC has the last word.
        if asked.in_place and not planned.changes and unchanged.up_to_date(root):
            report.ensure(root)  # it is no result, so that DVC does not miss it
            command_line.succeed("everything is up to date: nothing was run", summary.text(root))
            return
        planned.look()
    sys.exit(supervised())


def supervised() -> int:
    """Run the flow that the command line asks for in a process of its own, and return its exit code.

    Raises:
        ConfigError: a duration in an environment variable is wrong, or Prefect's secret would go unencrypted.
        ServiceUnavailable: the configured Prefect server does not answer.
    """
    waits.check()
    prefect_server.check()
    if address := servers_file.prefect_address():
        print(printable(f"this run is on the Prefect server of make ui: {address}"), flush=True)
    with _prefect_server() as server:
        return _supervise([sys.executable, "-m", "flows.supervised", *sys.argv[1:]], server)


def end_with_make() -> None:
    """End as by SIGTERM when the make that has started this process is killed: make then passes nothing on."""
    above = psutil.Process().parent()
    if "MAKELEVEL" in os.environ and above is not None and above.name() in ("make", "gmake"):
        signals.end_with_parent(above.pid)


def _prefect_server() -> contextlib.AbstractContextManager[temporary_server.Server]:
    """The Prefect server of this run: the configured one, that of `make ui`, or else one that is started for it."""
    there = prefect_server.configured() or servers_file.environment().get("PREFECT_API_URL")
    if there is None:
        return temporary_server.running()
    return contextlib.nullcontext(temporary_server.Server({"PREFECT_API_URL": there}))


def _supervise(command: list[str], server: temporary_server.Server) -> int:
    """Run the flow in a session of its own, and return its exit code.

    Ctrl-C goes to every process of a terminal's session. Here it reaches this process alone, which passes a SIGTERM to
    the flow alone. A pipe tells the flow if this process is killed.
    """
    environment = {**os.environ, **server.variables, preflight.VARIABLE: "off"}
    flow = subprocess.Popen(
        command, stdin=subprocess.PIPE, start_new_session=True, env=environment, pass_fds=server.lifelines
    )

    def stop(_number: int, _frame: FrameType | None) -> None:
        if not stopping:
            flow.send_signal(signal.SIGTERM)
        elif flow.returncode is None:  # a second signal kills the flow
            os.killpg(flow.pid, signal.SIGKILL)
        stopping.append(True)

    stopping: list[bool] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    code = flow.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(flow.pid, signal.SIGKILL)  # what the flow has started, if it was killed
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    command_line.run(main)
