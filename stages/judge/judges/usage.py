"""What a judge behind a server takes: tokens and seconds, as the server counts them.

They differ from run to run and are in no output of a stage: MLflow and .cache/judge/ledger.json have them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

#: What a reply may say of itself.
COUNTS = ("prompt_tokens", "reply_tokens")
SECONDS = ("load_seconds", "prompt_seconds", "reply_seconds")


class Costs:
    """Sums over the replies that came; `add` may be called from several threads.

    Args:
        about: figures of the judge itself, such as the memory that its model takes.
    """

    def __init__(self, about: Mapping[str, int] | None = None) -> None:
        self._about = dict(about or {})
        self._lock = threading.Lock()
        self._sums: dict[str, float] = {}

    def add(self, seconds: float, said: Mapping[str, Any]) -> None:
        """Count one reply.

        Args:
            seconds: from the request to the reply, with what had to be repeated.
            said: counts and seconds by the names above; what is no number is left out.
        """
        known = {name: said.get(name) for name in (*COUNTS, *SECONDS)}
        numbers = {name: value for name, value in known.items() if isinstance(value, int | float)}
        with self._lock:
            for name, value in {"replies": 1, "seconds": seconds, **numbers}.items():
                self._sums[name] = self._sums.get(name, 0) + value

    def entry(self) -> dict[str, float]:
        """Everything so far; empty if no reply came.

        ``seconds`` is the sum over the replies: with several at a time, more than has passed. The server's
        ``load_seconds``, ``prompt_seconds`` and ``reply_seconds`` are parts of it.
        """
        with self._lock:
            return {**self._sums, **self._about} if self._sums else {}
