"""A Prefect server: whether it answers."""

from __future__ import annotations

import os
import urllib.error
import urllib.request

from stages.common.errors import ServiceUnavailable

_SECONDS = 10
#: How often a server is asked that lets that time pass: on a busy machine it may still be there.
_LOOKS = 3


def check() -> None:
    """Ask the server if it is healthy, where one is configured: Prefect itself would show a traceback.

    Raises:
        ServiceUnavailable: it does not answer.
    """
    if not (address := os.environ.get("PREFECT_API_URL")):
        return
    try:
        _ask(address)
    except (OSError, ValueError) as error:
        raise ServiceUnavailable(
            f"PREFECT_API_URL: the Prefect server at {address} does not answer: {error}",
            "start it (make ui), or unset PREFECT_API_URL to run without one",
        ) from None


def answers(address: str) -> bool:
    """Whether the server at this address of an API answers at all. One that is only slow is asked again."""
    for _ in range(_LOOKS):
        try:
            _ask(address)
        except urllib.error.HTTPError:
            return True
        except (OSError, ValueError) as error:
            if isinstance(getattr(error, "reason", error), TimeoutError):
                continue
            return False
        return True
    return False


def _ask(address: str) -> None:
    with urllib.request.urlopen(f"{address}/health", timeout=_SECONDS):  # noqa: S310 - the user's own server
        pass
