"""A Prefect server: whether it answers."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

from stages.common import secrecy
from stages.common.errors import ServiceUnavailable
from stages.common.reasons import reason
from stages.running import proxies

_SECONDS = 10
#: What Prefect's client logs in with.
_SECRETS = ("PREFECT_API_KEY", "PREFECT_API_AUTH_STRING")
#: How often a server is asked that lets that time pass: on a busy machine it may still be there.
_LOOKS = 3


def check() -> None:
    """Ask the server if it is healthy, where one is configured: Prefect itself would show a traceback.

    Raises:
        ConfigError: Prefect's key or password would go unencrypted to another machine, or the proxy between is of a
            kind that Prefect cannot use.
        ServiceUnavailable: it does not answer.
    """
    if not (address := configured()):
        return
    for name in _SECRETS:
        if os.environ.get(name):
            fix = f"set PREFECT_API_URL to an https:// address; or unset {name}, if that server needs none"
            secrecy.require(address, f"the secret in {name}", named_by="PREFECT_API_URL", fix=fix)
    proxy = proxies.proxy_for(address)
    if proxy is not None and proxy.is_socks and importlib.util.find_spec("socksio") is None:
        raise proxy.unusable(f"PREFECT_API_URL={address}", "socksio")
    try:
        _ask(address)
    except (OSError, ValueError) as error:
        through = f" ({proxy})" if proxy else ""
        or_proxy = f"; or {proxy.fix}" if proxy else ""
        raise ServiceUnavailable(
            f"PREFECT_API_URL: the Prefect server at {address}{through} does not answer: {_why(error)}",
            f"start it (make ui), or unset PREFECT_API_URL to run without one{or_proxy}",
        ) from None


def configured() -> str | None:
    """The address of the API that Prefect is set to use: by PREFECT_API_URL, or by the profile in PREFECT_HOME."""
    if address := os.environ.get("PREFECT_API_URL"):
        return address
    try:
        profiles = tomllib.loads(Path(os.environ["PREFECT_HOME"], "profiles.toml").read_text(encoding="utf-8"))
        active = os.environ.get("PREFECT_PROFILE") or profiles["active"]
        return str(profiles["profiles"][active]["PREFECT_API_URL"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no such file, or none that says it


def wait(address: str, seconds: float) -> None:
    """Wait until the server that starts at an address answers; `flows.temporary_server` has its socket open already.

    Args:
        address: address of the API.
        seconds: how long it may take.

    Raises:
        OSError: it has ended, or does not answer in time.
    """
    _ask(address, seconds)


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


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"it answered {error.code} {error.reason}"
    return "no http(s) URL" if isinstance(error, ValueError) else reason(error)


def form_page(address: str, deployment: str) -> str | None:
    """The page with the form of a deployment, or None where it is not on the server.

    Args:
        address: address of the API.
        deployment: the flow's and the deployment's name, ``flow/deployment``.
    """
    try:
        found = json.loads(_get(address, f"/deployments/name/{deployment}"))
    except (OSError, ValueError):
        return None
    return page_of(address, found["id"])


def page_of(address: str, deployment: object) -> str:
    """The page with the form of a deployment.

    Prefect has two sets of pages. Those under /v2 are its newer ones, and refuse a wrong value at its field.

    Args:
        address: address of the API.
        deployment: the id of the deployment.
    """
    return f"{address.removesuffix('/api')}/v2/deployments/deployment/{deployment}/run"


def _ask(address: str, seconds: float = _SECONDS) -> None:
    _get(address, "/health", seconds)


def _get(address: str, path: str, seconds: float = _SECONDS) -> bytes:
    """What a server answers; errors as of urllib, and ConnectionError where what answers is no HTTP server."""
    # urllib takes ALL_PROXY for no proxy of this address, as the HTTP libraries do.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies.mapping(address)))
    try:
        with opener.open(f"{address}{path}", timeout=seconds) as answer:
            return bytes(answer.read())
    except http.client.HTTPException as error:
        raise ConnectionError(f"no HTTP server answers there ({type(error).__name__})") from None
