"""How the flow ended, kept beside Prefect: its server may go away during a run, and the results are in files.

Prefect tells its server how a flow ended, waits a minute where the server is gone, and then raises an error. So where
the server does not answer at the end of the flow's own work, the process that runs the flow ends by itself.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import Any

from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled

from flows import log_lines, prefect_server
from flows.stage_process import Stopped

#: Loggers that complain of each event that a server which is gone does not take. One line says it instead.
_LOUD = ("prefect.events.clients", "prefect._internal.concurrency")


class Outcome:
    """The end of the flow that runs in this process.

    Attributes:
        state: the state that the flow's own work ended in; None until then.
        without_prefect: ends this process where Prefect's server does not answer; it is given the state, or None where
            the flow was stopped. None leaves the end to Prefect, as in a worker.
    """

    def __init__(self) -> None:
        self.state: State[Any] | None = None
        self.without_prefect: Callable[[State[Any] | None], None] | None = None

    def end(self, state: State[Any] | None) -> None:
        """Keep the state, and end the process if Prefect's server is gone."""
        self.state = state
        if self.without_prefect is not None and not server_answers():
            self.without_prefect(state)


OUTCOME = Outcome()


def kept(work: Callable[[], State[Any]]) -> State[Any]:
    """Do the flow's own work and return the state that it ends in, which `OUTCOME` keeps before Prefect is told of it.

    A run that is stopped ends as cancelled. Under a worker Prefect itself knows whether it was: by somebody, or as the
    worker ends.

    Args:
        work: the work; an error of it passes through.
    """
    log_lines.tell_once(by_command=OUTCOME.without_prefect is not None)
    try:
        state = work()
    except Exception:
        raise
    except (Stopped, TerminationSignal) as stop:
        OUTCOME.end(None)
        if OUTCOME.without_prefect is None:
            raise TerminationSignal(signal.SIGTERM) from (stop if isinstance(stop, Stopped) else None)
        return Cancelled(message="stopped")
    except BaseException:
        OUTCOME.end(None)
        raise
    OUTCOME.end(state)
    return state


def server_answers() -> bool:
    """Whether the Prefect server of this run answers."""
    return prefect_server.answers(server_address())


def server_is_gone() -> bool:
    """Whether the server does not answer, and the process that runs the flow says so at its end.

    In a worker nothing says so. What is sent waits there for a server that is slow, as Prefect's own state of the run.
    """
    return OUTCOME.without_prefect is not None and not server_answers()


def server_address() -> str:
    """The address of the API of this run's Prefect server."""
    return str(PREFECT_API_URL.value())


def quieten() -> None:
    """Let Prefect say nothing of a server that is gone, which it does in hundreds of lines."""
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # By this alone is decided whether the sender of log lines writes its errors to standard error.
    logging.raiseExceptions = False
