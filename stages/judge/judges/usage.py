"""Counts what a judge behind a server takes: tokens and seconds, as the server says them.

They differ from run to run and are in no output of a stage: MLflow and .cache/judge/ledger.json have them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from stages.running.costs import JudgingCosts

#: What a reply may say of itself.
COUNTS = ("prompt_tokens", "reply_tokens")
SECONDS = ("load_seconds", "prompt_seconds", "reply_seconds")


class Usage:
    """Sums over the replies that came; `add` may be called from several threads.

    Args:
        about: figures of the judge itself: ``size_vram`` and ``context_length``, where they are known.
    """

    def __init__(self, about: Mapping[str, int] | None = None) -> None:
        self._about = dict(about or {})
        self._lock = threading.Lock()
        self._replies = 0
        self._seconds = 0.0
        self._counts: Counter[str] = Counter()
        self._spans: dict[str, float] = {}

    def add(self, seconds: float, said: Mapping[str, Any]) -> None:
        """Count one reply.

        Args:
            seconds: time from the request to the reply, attempts that failed included.
            said: counts and seconds by the names above; what is no number is left out.
        """
        counts = {name: said[name] for name in COUNTS if type(said.get(name)) is int}
        spans = {name: float(said[name]) for name in SECONDS if isinstance(said.get(name), int | float)}
        with self._lock:
            self._replies += 1
            self._seconds += seconds
            self._counts.update(counts)
            for name, span in spans.items():
                self._spans[name] = self._spans.get(name, 0.0) + span

    def costs(self) -> JudgingCosts | None:
        """Everything so far; None if no reply came.

        ``load_seconds``, ``prompt_seconds`` and ``reply_seconds``, which the server says, are parts of ``seconds``.
        """
        with self._lock:
            if not self._replies:
                return None
            said = {**self._counts, **self._spans, **self._about}
            return JudgingCosts.model_validate({"replies": self._replies, "seconds": self._seconds, **said})
