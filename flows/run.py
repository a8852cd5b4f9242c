"""The command `python -m flows.run [--profile P] [--set KEY=VALUE ...] [--force]`: one run, then its results.

It exits with the failing stage's exit code, and within seconds if there is nothing to do.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from flows import dvc_cli, profile
from stages.common.errors import ConfigError, InputOutputError, PipelineError, ServiceUnavailable, TemporaryFailure
from stages.running import summary


def main() -> NoReturn:
    """Parse the command line, run the flow if there is anything to do, and end the process."""
    arguments = _parser().parse_args()
    try:
        overrides = dict(map(profile.parse_override, arguments.set))
        if arguments.supervised:
            _die_with_owner()
            _run_flow(arguments.profile, overrides, arguments.force)
        _run(arguments.profile, overrides, arguments.force)
    except PipelineError as error:
        _end(str(error), error.exit_code)
    except KeyboardInterrupt:
        _end("stopped; run the same command again to go on", TemporaryFailure.exit_code)
    except BrokenPipeError:
        # Whoever read the results, such as `head`, has seen enough. Python would flush what is left once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        _end(str(InputOutputError.of(error)), InputOutputError.exit_code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flows.run", description="Run what has changed.")
    parser.add_argument("--profile", default=profile.CURRENT, help="a file of profiles/, put over params.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one value by dotted key")
    parser.add_argument("--force", action="store_true", help="run every stage")
    parser.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    return parser


def _run(profile_name: str, overrides: dict[str, Any], force: bool) -> NoReturn:
    root = Path.cwd()
    in_place = profile_name == profile.CURRENT and not overrides
    if not (root / "dvc.yaml").exists():
        raise ConfigError(f"{root}: no dvc.yaml here", "run the command in the project's folder")
    profile.overlaid(root, profile_name, overrides)  # which checks them
    if in_place and not force and dvc_cli.up_to_date(root):
        _finish("everything is up to date: nothing was run", summary.text(root))
    check_server()
    sys.exit(_supervise([sys.executable, "-m", "flows.run", "--supervised", *sys.argv[1:]]))


def _supervise(command: list[str]) -> int:
    """Run the flow in a session of its own, and return its exit code.

    Ctrl-C goes to every process of a terminal's session, so it would end Prefect's temporary server before the flow,
    which would then wait for it in vain. Here it reaches this process alone, which passes a SIGTERM to the flow alone.
    A pipe tells the flow if this process is killed.
    """
    flow = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def stop(_number: int, _frame: FrameType | None) -> None:
        # The second time in earnest: the flow, and the server that it has started.
        flow.send_signal(signal.SIGTERM) if not stopping else os.killpg(flow.pid, signal.SIGKILL)
        stopping.append(True)

    stopping: list[bool] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    code = flow.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(flow.pid, signal.SIGKILL)  # the temporary server, if the flow was killed
    return code if code >= 0 else 128 - code


def _die_with_owner() -> None:
    """End this process as by SIGTERM when the other end of standard input closes."""

    def watch() -> None:
        # Not sys.stdin, whose lock the interpreter wants when it ends.
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def check_server() -> None:
    """Raise ServiceUnavailable if the Prefect server configured does not answer: Prefect would show a traceback."""
    if not (address := os.environ.get("PREFECT_API_URL")):
        return
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=10):  # noqa: S310 - the user's own server
            return
    except (OSError, ValueError) as error:
        raise ServiceUnavailable(
            f"PREFECT_API_URL: the Prefect server at {address} does not answer: {error}",
            "start it (make ui), or unset PREFECT_API_URL to run without one",
        ) from None


def _run_flow(profile_name: str, overrides: dict[str, Any], force: bool) -> NoReturn:
    from flows.overrides import Overrides
    from flows.pipeline import pipeline
    from flows.stage_run import StageFailed

    # Prefect takes SIGTERM while the flow runs, ends the flow, and then sends it once more to who had it before.
    signal.signal(signal.SIGTERM, _stop)
    state = pipeline(profile_name, Overrides(**overrides), force, return_state=True)
    if state.is_completed():
        _finish(f"\n{state.message}", str(state.result()))
    error = state.result(raise_on_failure=False)
    if isinstance(error, StageFailed):
        _end(error.message, error.exit_code)
    _end(f"the run ended as {state.name}: {state.message}", PipelineError.exit_code)


def _finish(message: str, results: str) -> NoReturn:
    print(f"{message}\n\n{results}", flush=True)
    sys.exit(0)


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _end(message: str, code: int) -> NoReturn:
    sys.stdout.flush()
    print(f"pipeline: {message}" if not message.startswith("pipeline:") else message, file=sys.stderr, flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
