"""Values of environment variables. They say where and how the project runs, never what it computes."""

from __future__ import annotations

import math
import os
from typing import NamedTuple

from stages.common.errors import ConfigError

#: The longest duration, in seconds: 31 years, which every clock and timer of the system takes.
LONGEST = 1e9


class Worker(NamedTuple):
    """A process of a process group: its rank, and the world size."""

    rank: int
    world_size: int


def worker() -> Worker | None:
    """Which process of a group this one is, if torchrun has started it; else None."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    return Worker(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


def dvc_runs(stage: str) -> bool:
    """Whether DVC has started this process, for a stage: it records the outputs if the process succeeds."""
    return os.environ.get("DVC_STAGE") == stage


def seconds(name: str, default: float) -> float:
    """A duration in seconds.

    Args:
        name: the variable.
        default: the duration where the variable is not set, or is empty.

    Raises:
        ConfigError: the variable is not a number from 0 to `LONGEST`.
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= LONGEST:  # no number is neither
        raise ConfigError(
            f"{name}: expected a number of seconds from 0, found {text!r}", f"export {name}={default:g}, or unset it"
        )
    return value
