"""The flow in a process of its own, which `flows.run` starts and watches: a module apart, as it imports Prefect.

`python -m flows.supervised` takes the options of `flows.run`, and ends when its standard input closes.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import NoReturn

from flows import command_line
from flows.overrides import Overrides
from flows.pipeline import pipeline
from flows.stage_process import StageFailed
from stages.common.errors import PipelineError


def main() -> None:
    """Run the flow and print its results, or end the process with the exit code of the stage that failed."""
    asked = command_line.parse("python -m flows.supervised", "Run the flow under `python -m flows.run`.")
    _end_with_owner()
    # Prefect takes SIGTERM while the flow runs, ends the flow, and then sends it once more to the handler before.
    signal.signal(signal.SIGTERM, _stop)
    state = pipeline(asked.profile, Overrides(**asked.overrides), asked.force, return_state=True)
    if state.is_completed():
        command_line.succeed(f"\n{state.message}", str(state.result()))
        return
    error = state.result(raise_on_failure=False)
    if isinstance(error, StageFailed):
        command_line.fail(error.message, error.exit_code)
    command_line.fail(f"the run ended as {state.name}: {state.message}", PipelineError.exit_code)


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


if __name__ == "__main__":
    command_line.run(main)
