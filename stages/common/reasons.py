"""Why something over a network failed, in few words: libraries wrap the system's error in several of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator

#: The longest reason, in characters.
_LONGEST = 200
#: What Python puts before the system's words.
_NUMBER = re.compile(r"^\[(Errno|SSL[^]]*)[^]]*\] ")


class NoAnswer(TimeoutError):
    """No answer came within a number of seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} s")


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, what it was made from, and what it wraps: some libraries keep the reason in ``args``."""
    seen: list[BaseException] = [error]
    for cause in seen:
        yield cause
        inner = [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
        seen += [item for item in inner if isinstance(item, BaseException) and item not in seen]


def reason(error: BaseException) -> str:
    """The words of the operating system where one of the causes has any, else the first cause's first line.

    >>> reason(ConnectionRefusedError(111, "Connection refused"))
    'Connection refused'
    """
    found = list(causes(error))
    for cause in found:
        if isinstance(cause, NoAnswer):
            return str(cause)
        if isinstance(cause, TimeoutError) or "timed out" in str(cause).lower():
            return "no answer in time"
        if isinstance(cause, OSError) and cause.strerror:
            return _NUMBER.sub("", cause.strerror)
    chain = error
    while (inner := chain.__cause__ or chain.__context__) is not None:
        chain = inner
    line = (str(chain).strip() or type(chain).__name__).splitlines()[0]
    line = _NUMBER.sub("", line)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
