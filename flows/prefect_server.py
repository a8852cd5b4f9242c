"""A Prefect server: whether it answers."""

from __future__ import annotations

import importlib.util
import os
import urllib.error
import urllib.request

from stages.common.errors import ServiceUnavailable
from stages.running import proxies

_SECONDS = 10


def check() -> None:
    """Ask the server if it is healthy, where one is configured: Prefect itself would show a traceback.

    Raises:
        ServiceUnavailable: it does not answer.
        ConfigError: the proxy between is of a kind that Prefect cannot use.
    """
    if not (address := os.environ.get("PREFECT_API_URL")):
        return
    proxy = proxies.proxy_for(address)
    if proxy is not None and proxy.is_socks and importlib.util.find_spec("socksio") is None:
        raise proxy.unusable(f"PREFECT_API_URL={address}", "socksio")
    try:
        _ask(address)
    except (OSError, ValueError) as error:
        through = f" ({proxy})" if proxy else ""
        or_proxy = f"; or {proxy.fix}" if proxy else ""
        raise ServiceUnavailable(
            f"PREFECT_API_URL: the Prefect server at {address}{through} does not answer: {error}",
            f"start it (make ui), or unset PREFECT_API_URL to run without one{or_proxy}",
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


def _ask(address: str) -> None:
    # urllib takes ALL_PROXY for no proxy of this address, as the HTTP libraries do.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies.mapping(address)))
    with opener.open(f"{address}/health", timeout=_SECONDS):
        pass
