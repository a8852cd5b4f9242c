"""The proxies that the environment names: which one an address is asked through, and what is wrong with it.

requests and huggingface_hub's HTTP library both go by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.
"""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from stages.common.errors import ConfigError

#: The variable that keeps those of SOCKS proxies, as a JSON object, while a process is Prefect's.
SET_ASIDE = "PIPELINE_SOCKS_PROXIES"
_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Proxy:
    """A proxy through which an address is asked.

    Args:
        variable: environment variable that names it.
        address: its URL, without a user's name and password.
        host: host that is asked through it.
    """

    variable: str
    address: str
    host: str

    def __str__(self) -> str:
        return f"through the proxy {self.address} of {self.variable}"

    @property
    def is_socks(self) -> bool:
        """Whether the HTTP libraries need a further package for it."""
        return _is_socks(self.address)

    @property
    def fix(self) -> str:
        """What the user can do about a proxy that does not serve."""
        return f"correct or unset {self.variable}, or add {self.host} to NO_PROXY"

    def unusable(self, url: str, package: str) -> ConfigError:
        """The error for a proxy that the HTTP library cannot use.

        Args:
            url: address that was to be asked.
            package: package that the library needs for a SOCKS proxy.
        """
        if self.is_socks:
            what = f"{url}: {self.variable} names a SOCKS proxy ({self.address}), which needs the package {package}"
            return ConfigError(what, f"unset {self.variable}, name an http proxy, or: pip install {package}")
        return ConfigError(f"{url}: {self.variable} names no proxy that can be used: {self.address}", self.fix)


def proxy_for(url: str) -> Proxy | None:
    """The proxy through which a URL is asked; None if it is asked directly, as every address on loopback is.

    This adds loopback to NO_PROXY of this process: what runs on this machine is not behind a proxy.
    """
    spare_loopback()
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # no URL at all, which the HTTP library tells
        return None
    if proxy_bypass(host):
        return None
    named = getproxies_environment()
    for scheme in (urlsplit(url).scheme.lower(), "all"):
        if named.get(scheme):
            names = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
            variable = next((name for name in names if os.environ.get(name)), names[1])
            return Proxy(variable, _without_user(named[scheme]), host)
    return None


def spare_loopback() -> None:
    """Add loopback to NO_PROXY of this process, and so of those that it starts."""
    before = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in before.split(",") if host.strip()]
    if missing := [host for host in _LOOPBACK if host not in hosts]:
        # Both spellings: urllib reads the small one first.
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join([*hosts, *missing])


def set_aside_socks() -> None:
    """Put the variables that name a SOCKS proxy into `SET_ASIDE`; nothing where the package `socksio` is installed.

    httpx, in which Prefect asks its server on this machine, needs that package as soon as such a variable is set, even
    where no proxy is asked.
    """
    if importlib.util.find_spec("socksio") is not None:
        return
    names = [name for name in os.environ if name.lower() in _VARIABLES and _is_socks(os.environ[name])]
    if names:
        os.environ[SET_ASIDE] = json.dumps({name: os.environ.pop(name) for name in names})


def with_socks() -> dict[str, str]:
    """The environment of this process with the variables that were set aside, for a process that is not Prefect's."""
    kept = dict(os.environ)
    set_aside: dict[str, str] = json.loads(kept.pop(SET_ASIDE, "{}"))
    return kept | set_aside


def _is_socks(address: str) -> bool:
    return address.lower().startswith("socks")


def _without_user(address: str) -> str:
    scheme, separator, rest = address.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]
