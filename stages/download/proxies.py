"""The proxies that the environment names: which one an address is asked through, and what is wrong with it.

requests and huggingface_hub's HTTP library both go by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

from requests.utils import should_bypass_proxies

from stages.common.errors import ConfigError

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
        return self.address.lower().startswith("socks")

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
    _spare_loopback()
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # no URL at all, which the HTTP library tells
        return None
    if should_bypass_proxies(url, no_proxy=None):
        return None
    named = getproxies_environment()
    for scheme in (urlsplit(url).scheme.lower(), "all"):
        if named.get(scheme):
            names = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
            variable = next((name for name in names if os.environ.get(name)), names[1])
            return Proxy(variable, _without_user(named[scheme]), host)
    return None


def _spare_loopback() -> None:
    before = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in before.split(",") if host.strip()]
    if missing := [host for host in _LOOPBACK if host not in hosts]:
        # Both spellings: urllib reads the small one first.
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join([*hosts, *missing])


def _without_user(address: str) -> str:
    scheme, separator, rest = address.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]
