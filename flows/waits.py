"""How long the flow waits: for a stage, for other runs, and before it tries again; environment variables say otherwise.

Read when they are needed, not at import: a wrong variable is a user's mistake, and is told as one.
"""

from __future__ import annotations

from stages.running import environment


def grace() -> float:
    """Seconds that a stage may take to end when it is stopped (PIPELINE_GRACE_SECONDS).

    By default a minute: a step of a large fine-tuning, and a checkpoint of several GB.

    Raises:
        ConfigError: the variable is not a number of seconds.
    """
    return environment.seconds("PIPELINE_GRACE_SECONDS", 60.0)


def first_retry() -> float:
    """Seconds before a failed stage is run again (PIPELINE_RETRY_SECONDS); each further wait is twice as long.

    Raises:
        ConfigError: the variable is not a number of seconds.
    """
    return environment.seconds("PIPELINE_RETRY_SECONDS", 15.0)


def longest() -> float:
    """Seconds that a run may wait for others that work in the same folder (PIPELINE_WAIT_SECONDS); half a day.

    Raises:
        ConfigError: the variable is not a number of seconds.
    """
    return environment.seconds("PIPELINE_WAIT_SECONDS", 43_200.0)


def before_try(tries: int) -> float:
    """Seconds before DVC is tried again that has found its files in use: 1, 2, 4 and so on, half a minute at most.

    Args:
        tries: number of tries that have been waited for.
    """
    return min(2.0 ** min(tries, 5), 30.0)


def check() -> None:
    """Refuse a wrong variable before anything runs.

    Raises:
        ConfigError: a variable is not a number of seconds.
    """
    grace()
    first_retry()
    longest()
