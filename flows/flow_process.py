"""A flow in a process of its own: what the program `flows.supervised` does."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from prefect.client.schemas.objects import State

from flows import command_line, dvc_cli, log_lines, prefect_server, temporary_server
from flows.outcome import OUTCOME, quieten, server_address
from flows.overrides import FlowOverrides
from flows.pipeline import pipeline
from flows.seed_runs import seeds
from flows.stage_process import StageFailed
from stages.common.errors import PipelineError, ServiceUnavailable, TemporaryFailure
from stages.running import loading, streams
from stages.running.tracking import mlflow_access

#: Seconds that a temporary server may take to start, on a small, busy machine too.
_START_SECONDS = 120.0

_FIX = (
    "run it once more with PREFECT_SERVER_LOGGING_LEVEL=ERROR, by which Prefect's server says what is wrong; "
    "its database is in .prefect"
)


def main() -> None:
    """Run the flow and print its results, or end the process with the exit code of the stage that failed.

    Raises:
        ServiceUnavailable: Prefect failed before the flow had begun.
    """
    described = "Run a flow under `python -m flows.run` or `python -m flows.seeds`."
    asked = command_line.parse("python -m flows.supervised", described, trainings="may be")
    _end_with_owner()
    # Prefect takes SIGTERM while the flow runs, ends the flow, and then sends it once more to the handler before.
    signal.signal(signal.SIGTERM, _stop)
    quieten()
    if not temporary_server.has_pages(server_address()):
        log_lines.without_pages()
    OUTCOME.without_prefect = _end_without_prefect
    _load_beside_server()
    if asked.in_place and not asked.trainings:
        dvc_cli.ask_order_ahead(Path.cwd())  # Prefect takes as long until the flow begins
    try:
        overrides = FlowOverrides.model_validate(asked.overrides)
        if asked.trainings:
            state = seeds(asked.trainings, asked.profile, overrides, asked.force, return_state=True)
        else:
            state = pipeline(asked.profile, overrides, asked.force, return_state=True)
    except Exception as error:
        if OUTCOME.state is None:
            raise _cannot_begin(error) from error
        state = OUTCOME.state  # what came after the flow's own work cannot change it
        told = f"Prefect: its pages do not show how this run ended: {_first_line(error)}"
        streams.complain(told)
    _tell(state)


def _load_beside_server() -> None:
    """Import MLflow and make its database, which the flow needs, while a temporary server starts: all take seconds.

    Raises:
        ServiceUnavailable: the server does not start.
    """
    with contextlib.suppress(Exception):  # tracking says it, when it is used
        with loading.without_collector():
            mlflow_access.load()  # sets what MLflow reads when it is imported, such as how much it says
        mlflow_access.client(Path.cwd())
    try:
        prefect_server.wait(server_address(), _START_SECONDS)
    except OSError as error:
        raise _cannot_begin(error) from error


def _cannot_begin(error: Exception) -> ServiceUnavailable:
    return ServiceUnavailable(f"Prefect: the flow cannot begin: {_first_line(error)}", _FIX)


def _tell(state: State[Any]) -> None:
    """Print how the flow ended; after a failure, end the process with its exit code."""
    if state.is_completed():
        command_line.succeed(f"\n{state.message}", str(state.result()))
        return
    if state.is_cancelled():
        command_line.fail(command_line.STOPPED, TemporaryFailure.exit_code)
    error = state.result(raise_on_failure=False)
    if isinstance(error, StageFailed):
        command_line.fail(error.message, error.exit_code)
    command_line.fail(f"the run ended as {state.name}: {state.message}", PipelineError.exit_code)


def _end_without_prefect(state: State[Any] | None) -> NoReturn:
    """End this process as the flow ended, at once: Prefect itself would wait for its server for minutes.

    Args:
        state: how the flow's own work ended; None where it was stopped.
    """
    gone = f"Prefect: its server, {server_address()}, does not answer: its pages do not show how this run ended"
    streams.complain(gone)
    code = 0
    try:
        if state is None:
            raise KeyboardInterrupt
        _tell(state)
    except SystemExit as end:
        code = int(end.code or 0)
    except KeyboardInterrupt:
        with contextlib.suppress(SystemExit):
            command_line.fail(command_line.STOPPED, TemporaryFailure.exit_code)
        code = TemporaryFailure.exit_code
    os._exit(code)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _end_with_owner() -> None:
    """End this process as by SIGTERM when the other end of standard input closes: `flows.run` was killed."""

    def watch() -> None:
        # Not sys.stdin, whose lock the interpreter wants when it ends.
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
