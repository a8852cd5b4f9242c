"""One deadline over a whole call.

The read timeout of `requests` bounds the silence between two reads, not the call: a server that sends a byte from time
to time holds it for ever. Here a thread shuts the connection's socket at the deadline, whatever it is doing.
One thread serves all calls: to start one for each takes half a millisecond, in which a judge waits.

The thread shuts a duplicate of the plain socket. What speaks through the original may be TLS, TLS inside a proxy's TLS,
or a handshake in progress: some of these cannot be shut, and others fail when they are.
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

#: The longest sleep of the thread, in seconds; a wait of more than some 292 years is an error.
LONGEST_SLEEP = 3600.0


class Deadline:
    """A span of time for one piece of work. While it is entered, its end shuts the socket that the thread uses.

    Args:
        seconds: length of the span, which begins at once.
        stall: the longest silence of an answer that has begun, in seconds; None: the whole span. Before it begins a
            server may be silent as long as the span lasts: some say nothing until all is said.
        remedy: what to do about a span that was too short, for messages; None if nothing can be done.
    """

    def __init__(self, seconds: float, stall: float | None = None, *, remedy: str | None = None) -> None:
        self.seconds = seconds
        self.remedy = remedy
        self.stall = seconds if stall is None else stall
        self._end = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._plain: socket.socket | None = None
        self._reader: socket.socket | None = None
        self._over = False

    @property
    def remaining(self) -> float:
        """Seconds that are left; 0 at the end or after `expire`."""
        return 0.0 if self._over else max(0.0, self._end - time.monotonic())

    def watch(self, plain: socket.socket | None, reader: socket.socket | None = None) -> None:
        """Have the end of the span shut this connection; it is shut here if the span is over.

        Args:
            plain: the connection's socket without TLS. A duplicate is kept: an answer can still be read after its
                connection is closed, where it is the last.
            reader: socket from which answers are read.
        """
        with self._lock:
            if self._plain is not None:
                self._plain.close()
            self._plain, self._reader = None if plain is None else plain.dup(), reader
            if self._over:
                self._shut()

    def begun(self) -> None:
        """The answer has begun: from here on ``stall`` bounds the silence."""
        with self._lock:
            if self._reader is not None and self.stall < self.seconds:
                with contextlib.suppress(OSError):  # already closed by its owner
                    self._reader.settimeout(self.stall)

    def expire(self) -> None:
        """End the span at once."""
        with self._lock:
            self._over = True
            self._shut()

    def _shut(self) -> None:
        if self._plain is not None:
            with contextlib.suppress(OSError):  # already disconnected
                self._plain.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        _clock.add(self, self._end)
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)
        _clock.discard(self)
        self.watch(None)


class _Clock:
    """Calls `Deadline.expire` of every deadline that has been added, in time."""

    def __init__(self) -> None:
        self._ends: dict[Deadline, float] = {}
        self._changed = threading.Condition()
        self._wakes = 0.0
        self._thread: threading.Thread | None = None

    def add(self, deadline: Deadline, end: float) -> None:
        """Watch a deadline; ``end`` is a time of `time.monotonic`."""
        with self._changed:
            self._ends[deadline] = end
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            elif end < self._wakes:
                self._changed.notify()

    def discard(self, deadline: Deadline) -> None:
        """Stop watching a deadline."""
        with self._changed:
            self._ends.pop(deadline, None)

    def __len__(self) -> int:
        return len(self._ends)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for deadline in [deadline for deadline, end in self._ends.items() if end <= now]:
                    del self._ends[deadline]
                    with contextlib.suppress(Exception):  # the others' ends have to come all the same
                        deadline.expire()
                self._wakes = min([now + LONGEST_SLEEP, *self._ends.values()])
                self._changed.wait(self._wakes - now)


_clock = _Clock()
_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


class _Connection(HTTPConnection):
    """A connection that tells the deadline of its thread the plain socket, and what is read from."""

    _plain: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        self._plain = sock.dup()
        self._tell(sock)  # from here on: through a tunnel its proxy answers first
        return sock

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        self._tell(self.sock)
        return super().getresponse()

    def close(self) -> None:
        super().close()
        if self._plain is not None:
            self._plain.close()
            self._plain = None

    def _tell(self, reader: socket.socket | None) -> None:
        if (deadline := _current.get()) is not None:
            deadline.watch(self._plain, reader)


class _SecureConnection(_Connection, HTTPSConnection):
    """The same with TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _Pool, "https": _SecurePool}


class DeadlineAdapter(HTTPAdapter):
    """What makes a `requests.Session` obey the deadline that its thread has entered."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As in `HTTPAdapter`, with connections that tell the deadline their socket."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """The same for the connections through a proxy; SOCKS has classes of its own."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager
