"""The log of a run on Prefect's pages and in the terminal: what happened is told once, by whoever knows it best.

Prefect repeats a task's message when it retries the task, when the task ends and when the flow ends; the last time in
a deployed run, as an error with a traceback. It also calls a run that is stopped a crash.
"""

from __future__ import annotations

import logging
from typing import Any

from prefect.exceptions import FailedRun

from flows.stage_process import StageFailed

#: An attribute of records that the command repeats as its last words, so that the terminal leaves them out.
_REPEATED = "told_by_the_command"
#: What Prefect raises for a flow that has returned a failed state: its data, or an error with the state's message.
_TOLD = (StageFailed, FailedRun)
_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")
_FINISHED = "Finished in state "
_PAGE = "View at http"
#: Beginnings of lines that tell what another line has told. Their words are those of Prefect 3.8; a test runs it.
_REPETITIONS = (
    "Task run failed with ",
    "Crash detected! Execution was aborted by a termination signal",
)


def tell_failure(logger: logging.Logger | logging.LoggerAdapter[Any], message: str) -> None:
    """Log why a run fails, as an error; the terminal gets the message from the command."""
    logger.error("%s", message, extra={_REPEATED: True})


def tell_once(*, by_command: bool) -> None:
    """Let the log leave out repetitions. A second time changes nothing. Called when Prefect has set its loggers up.

    Args:
        by_command: whether `flows.command_line.fail` prints the last words in the terminal.
    """
    if by_command:
        for handler in logging.getLogger().handlers:
            handler.addFilter(_is_not_repeated)
    for name in _LOGGERS:
        if not any(isinstance(one, _Once) for one in logging.getLogger(name).filters):
            logging.getLogger(name).addFilter(_Once())


def without_pages() -> None:
    """Let the log name no page of a run whose server ends with the run."""
    logging.getLogger("prefect.flow_runs").addFilter(lambda record: not record.getMessage().startswith(_PAGE))


def _is_not_repeated(record: logging.LogRecord) -> bool:
    return not getattr(record, _REPEATED, False)


class _Once(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], _TOLD):
            return False  # the flow has told it, and no traceback helps
        text = record.getMessage()
        if text.startswith(_FINISHED):
            state, _, _ = text.removeprefix(_FINISHED).partition("(")
            if state in ("Running", "Cancelling"):
                return False  # Prefect's worker has yet to set the state of a run that was cancelled
            if state not in ("Completed", "Cached"):
                record.msg, record.args = f"{_FINISHED}{state}", ()
            if state == "Cancelled":  # by a person: of a task Prefect says so as of an error
                record.levelno, record.levelname = logging.INFO, "INFO"
        return not text.startswith(_REPETITIONS)
