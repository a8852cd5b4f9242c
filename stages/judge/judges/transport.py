"""HTTP for judges behind a server: persistent connections, every fault told apart, repeated where that can help."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from random import SystemRandom
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import NewConnectionError, ReadTimeoutError

from stages.common.errors import ServiceUnavailable
from stages.common.reasons import causes
from stages.common.secrecy import is_loopback
from stages.judge.judges.deadline import Deadline, DeadlineAdapter
from stages.running.proxies import proxy_for

#: Statuses after which the same request may succeed: a limit on the rate, a crashed runner, a gateway's
#: fault, a full queue.
REPEATABLE_STATUSES = frozenset({429, 500, 502, 503, 504})
#: The longest wait for a connection, in seconds.
CONNECT_SECONDS = 10.0
#: Waits between attempts, in seconds: the first, doubled each time up to the longest, then shortened by up to a half.
FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0
#: The longest wait that a server may ask for by Retry-After, in seconds.
LONGEST_ASKED = 60.0
#: The longest time for a server to say its version, its models and the like.
LOOK_UP_SECONDS = 30.0
#: The longest silence of a stream that has begun; a whole verdict takes a model seconds.
STALL_SECONDS = 30.0
#: More than any verdict. A stream that goes on is cut off here, not held in memory.
MAX_BYTES = 1 << 20

T = TypeVar("T")
_random = SystemRandom()


class Fault(Exception):
    """A call that brought no answer.

    Args:
        what: the reason, without address or time, since it may go into an artifact.
        status: the HTTP status, where there is one and it is not 200.
        unreachable: whether nobody listens at the address.
        absent: whether this machine itself refuses, at whose address no server has answered yet: none runs.
        repeatable: whether the same call may succeed later.
        wait: seconds after which the server asks to be called again.
        late: whether there was too little time for an answer.
    """

    def __init__(
        self,
        what: str,
        *,
        status: int | None = None,
        unreachable: bool = False,
        absent: bool = False,
        repeatable: bool = True,
        wait: float = 0.0,
        late: bool = False,
    ) -> None:
        super().__init__(what)
        self.late = late
        self.status = status
        self.unreachable = unreachable
        self.absent = absent
        self.repeatable = repeatable
        self.wait = wait


class NotRunning(ServiceUnavailable):
    """A server on this machine does not run: the same command does not start it."""


class Client:
    """Persistent connections to one server, for several threads.

    Args:
        url: base URL of the server. A proxy from the environment is used unless the host is this machine.
        connections: number of verdicts under way at a time. One connection more keeps look-ups from waiting.
        first_wait: seconds as in `FIRST_WAIT`.
        key: API key, sent as a bearer token. It is removed from messages that quote the server.
    """

    def __init__(self, url: str, *, connections: int, first_wait: float = FIRST_WAIT, key: str | None = None) -> None:
        self.url = url
        self._key = key
        self._first_wait = first_wait
        self._local = is_loopback(urlsplit(url).hostname or "")
        self._answered = False
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._under_way: set[Deadline] = set()
        adapter = DeadlineAdapter(pool_connections=1, pool_maxsize=connections + 1, pool_block=True)
        self._session = requests.Session()
        self._session.trust_env = not self._local
        proxy = proxy_for(url) if self._session.trust_env else None
        self._through = f" ({proxy}; to fix it: {proxy.fix})" if proxy else ""
        self._session.auth = self._authorised  # which keeps requests from what ~/.netrc says of the host
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def _authorised(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def call(self, method: str, path: str, body: Any, deadline: Deadline) -> bytes:
        """One request and the whole body of its answer.

        Raises:
            Fault: there is no answer with status 200 by the deadline.
        """
        with self._registered(deadline), deadline:
            if deadline.remaining == 0:
                raise _too_late(deadline)
            try:
                return self._call(method, path, body, deadline)
            except requests.RequestException as error:
                raise self._fault(error, deadline) from error
            except ValueError as error:  # of TLS over a socket that was shut at a bad moment
                if deadline.remaining == 0:
                    raise _too_late(deadline) from error
                raise

    def _call(self, method: str, path: str, body: Any, deadline: Deadline) -> bytes:
        # The deadline's own timer ends the reading; the read timeout comes after it, in case of no socket to shut.
        timeout = (max(0.001, min(CONNECT_SECONDS, deadline.remaining)), deadline.remaining + 1)
        request = self._session.request(
            method, self.url + path, json=body, timeout=timeout, stream=True, allow_redirects=False
        )
        with request as response:
            deadline.begun()
            self._answered = True
            content = bytearray()
            for piece in response.iter_content(1 << 16):
                content += piece
                if len(content) > MAX_BYTES:
                    raise Fault(f"the answer went on past {MAX_BYTES} bytes", repeatable=False)
        if deadline.remaining == 0:  # the end of a body without a length looks like the shut socket
            raise _too_late(deadline)
        if response.status_code != 200:
            status = response.status_code
            said = bytes(content) if self._key is None else bytes(content).replace(self._key.encode(), b"***")
            message = f"HTTP {status}: {error_message(said)}"
            if 300 <= status < 400:  # followed, it would take the key and the rows to an address that nobody has named
                message = f"HTTP {status}: a redirect, which is not followed; name the address where the server is"
            wait = _seconds(response.headers.get("Retry-After", ""))
            raise Fault(message, status=status, repeatable=status in REPEATABLE_STATUSES, wait=wait)
        return bytes(content)

    def _fault(self, error: requests.RequestException, deadline: Deadline) -> Fault:
        if deadline.remaining == 0:
            return _too_late(deadline)
        found = list(causes(error))
        reason = next((cause.strerror for cause in found if isinstance(cause, OSError) and cause.strerror), None)
        if isinstance(error, requests.ConnectTimeout):
            return Fault(f"no connection within the time for it{self._through}", unreachable=True)
        if any(isinstance(cause, NewConnectionError) for cause in found):
            # One that has answered may be starting again; one that never has does not come by waiting.
            absent = self._local and not self._answered and _refused(found)
            said = f"no connection: {reason or 'no such host'}{self._through}"
            return Fault(said, unreachable=True, absent=absent, repeatable=not absent)
        if isinstance(error, requests.exceptions.SSLError):
            return Fault(
                f"no secure connection: {reason or 'its certificate or its protocol is not accepted'}",
                unreachable=True,
                repeatable=False,
            )
        if any(isinstance(cause, requests.Timeout | ReadTimeoutError) for cause in found):
            return Fault(f"nothing heard for {deadline.stall:g} s")
        if isinstance(error, ValueError):  # an address, a header or a kind of proxy that requests itself refuses
            return Fault(f"the request cannot be made ({type(error).__name__}){self._through}", repeatable=False)
        return Fault("the connection broke off")

    def repeated(self, attempt: Callable[[], T], deadline: Deadline, *, retries: int) -> T:
        """Call ``attempt`` until it brings a result, a fault that repeating does not fix, or the deadline.

        Before a repetition it waits as long as the server asks for, up to `LONGEST_ASKED`, and at least as `FIRST_WAIT`
        says.

        Raises:
            Fault: the last one.
        """
        for number in range(retries + 1):
            try:
                return attempt()
            except Fault as fault:
                wait = min(LONGEST_WAIT, self._first_wait * 2**number) * _random.uniform(0.5, 1)
                wait = max(wait, min(fault.wait, LONGEST_ASKED))
                if number == retries or not fault.repeatable or wait >= deadline.remaining:
                    raise
                self._closed.wait(wait)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End every call and every wait. Later calls fail at once."""
        self._closed.set()
        with self._lock:
            for deadline in self._under_way:
                with contextlib.suppress(Exception):  # the others have to end all the same
                    deadline.expire()
        self._session.close()

    @contextlib.contextmanager
    def _registered(self, deadline: Deadline) -> Iterator[None]:
        with self._lock:
            self._under_way.add(deadline)
        try:
            if self._closed.is_set():
                deadline.expire()
            yield
        finally:
            with self._lock:
                self._under_way.discard(deadline)


def parse(content: bytes) -> Any:
    """The JSON that a server has sent.

    Raises:
        Fault: it is none.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Fault(f"not JSON: {excerpt(repr(content.decode('utf-8', 'replace')))}") from None


def as_object(value: Any) -> dict[str, Any]:
    """A JSON object as it is; what should be one and is not as one without entries."""
    return value if isinstance(value, dict) else {}


def error_message(content: bytes) -> str:
    """What a server says in ``{"error": "..."}``, or else the beginning of what it says."""
    text = content.decode("utf-8", "replace").strip()
    try:
        message = json.loads(text)["error"]
        if isinstance(message, dict) and "message" in message:  # as OpenAI has it
            message = message["message"]
    except (ValueError, TypeError, KeyError):
        message = text or "no message"
    return excerpt(str(message))


def excerpt(text: str, length: int = 200) -> str:
    """Text on one line, cut to ``length`` characters, without what cannot be written as UTF-8."""
    line = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    return line if len(line) <= length else f"{line[:length]}…"


def _seconds(said: str) -> float:
    """The seconds in a Retry-After header; 0 for a date, which another machine's clock has made."""
    return float(said) if said.isascii() and said.isdigit() and len(said) < 9 else 0.0


def _too_late(deadline: Deadline) -> Fault:
    remedy = "" if deadline.remedy is None else f"; {deadline.remedy}"
    return Fault(f"no complete answer within {deadline.seconds:g} s{remedy}", repeatable=False, late=True)


def _refused(found: Sequence[BaseException]) -> bool:
    return any(isinstance(cause, ConnectionRefusedError) for cause in found)
