"""Values of environment variables, which say where and how the project runs and never what it computes."""

from __future__ import annotations

import math
import os

from stages.common.errors import ConfigError


def worker() -> tuple[int, int] | None:
    """This process's number and the number of all, if torchrun has started it as one of several; else None."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def seconds(name: str, default: float) -> float:
    """The span of time that a variable holds, in seconds; ``default`` where it is not set, or empty.

    Raises:
        ConfigError: it is not a finite number from 0.
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(
            f"{name}: expected a number of seconds from 0, found {text!r}", f"export {name}={default:g}, or unset it"
        )
    return value
