"""A Prefect server: whether it answers."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request

from stages.common.errors import ServiceUnavailable

_SECONDS = 10


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
    """Whether the server at this address of an API answers at all."""
    try:
        _ask(address)
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def form_page(address: str, deployment: str) -> str | None:
    """The page with the form of a deployment, or None where it is not on the server.

    Prefect has two sets of pages. Those under /v2 are its newer ones, and refuse a wrong value at its field.

    Args:
        address: address of the API.
        deployment: the flow's and the deployment's name, ``flow/deployment``.
    """
    try:
        with urllib.request.urlopen(f"{address}/deployments/name/{deployment}", timeout=_SECONDS) as answer:  # noqa: S310
            found = json.load(answer)
    except (OSError, ValueError):
        return None
    return f"{address.removesuffix('/api')}/v2/deployments/deployment/{found['id']}/run"


def _ask(address: str) -> None:
    with urllib.request.urlopen(f"{address}/health", timeout=_SECONDS):  # noqa: S310 - the user's own server
        pass
