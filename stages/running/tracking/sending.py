"""A thread that sends to MLflow again and again: a server that is slow or gone for a while delays nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable

from stages.common import reasons
from stages.running.console import say
from stages.running.tracking import mlflow_access

#: Seconds between two batches, and between two attempts while MLflow does not answer.
FLUSH_SECONDS = 3.0
RETRY_SECONDS = 60.0


class Sending:
    """Sends until it is closed. That MLflow does not answer is said in one line, and that it does again in another.

    Args:
        send: function that sends what there is, and raises what it likes; it keeps what has not arrived. It is given
            whether it is asked for the last time.
        tell: function that is given these lines.
    """

    def __init__(self, send: Callable[[bool], None], tell: Callable[[str], object] | None = None) -> None:
        self._send = send
        self._tell = tell or say
        self._closing = threading.Event()
        #: Whether the last attempt failed.
        self.warned = False
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def close(self, seconds: float) -> None:
        """Send a last time, and wait for that for so many seconds at most."""
        self._closing.set()
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._warn(reasons.NoAnswer(seconds))

    def _work(self) -> None:
        pause = 0.0
        while True:
            closing = self._closing.wait(pause)
            pause = FLUSH_SECONDS
            try:
                self._send(closing)
                if self.warned:
                    self._tell("tracking: MLflow answers again; nothing was lost")
                    self.warned = False
            except Exception as error:
                self._warn(error)
                pause = RETRY_SECONDS
            if closing:
                return

    def _warn(self, error: Exception) -> None:
        if not self.warned:
            self.warned = True
            mlflow_access.warn(error, self._tell)
