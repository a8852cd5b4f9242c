"""One deadline over a whole call.

The read timeout of `requests` bounds the silence between two reads, not the call: a server that says a byte now and
then holds it for ever. Here a timer shuts the connection's socket when the deadline is over, whatever it is doing.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse


class Deadline:
    """A span of time for one piece of work. While it is entered, its end shuts the socket that the thread uses.

    Args:
        seconds: the span, from now.
        silence: the longest time in which nothing is heard; half of the span unless said, so that a call that hangs
            leaves time for another on a new connection.
    """

    def __init__(self, seconds: float, silence: float | None = None) -> None:
        self.seconds = seconds
        self.silence = seconds / 2 if silence is None else silence
        self._end = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._over = False

    @property
    def remaining(self) -> float:
        """Seconds that are left; 0 at the end or after `expire`."""
        return 0.0 if self._over else max(0.0, self._end - time.monotonic())

    def watch(self, sock: socket.socket | None) -> None:
        """From now on ``sock`` is what the end shuts; it is shut here if the end has come."""
        with self._lock:
            self._socket = sock
            if self._over:
                self._shut()

    def expire(self) -> None:
        """Bring the end about now."""
        with self._lock:
            self._over = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # already closed by its owner
                self._socket.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._timer = threading.Timer(self.remaining, self.expire)
        self._timer.daemon = True
        self._timer.start()
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)
        self._timer.cancel()
        self.watch(None)


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def _watch(connection: HTTPConnection) -> None:
    if (deadline := _current.get()) is not None:
        deadline.watch(connection.sock)


class _Connection(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        _watch(self)
        return super().getresponse()


class _SecureConnection(HTTPSConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        _watch(self)
        return super().getresponse()


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class DeadlineAdapter(HTTPAdapter):
    """What makes a `requests.Session` obey the deadline that its thread has entered."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As in `HTTPAdapter`, with connections that tell the deadline their socket."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
