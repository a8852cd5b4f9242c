"""How often Python looks for objects that refer to one another in a circle and that nothing else refers to."""

from __future__ import annotations

import gc


def seldom() -> None:
    """Let it look after 50,000 new objects instead of 700: it takes a tenth of the time in which libraries load."""
    gc.set_threshold(50_000, 20, 20)
