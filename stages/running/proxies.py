"""The proxies that the environment names: which one an address is asked through, and what is wrong with it.

requests and huggingface_hub's HTTP library both go by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.
"""

from __future__ import annotations

import contextlib
import importlib.util
import ipaddress
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from stages.common.errors import ConfigError
from stages.common.secrecy import is_loopback

#: The variable that keeps those of SOCKS proxies, as a JSON object, while a process is Prefect's.
SET_ASIDE = "PIPELINE_SOCKS_PROXIES"
_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: Variables that name servers.
_SERVERS = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "HF_ENDPOINT")


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

    This calls `spare_loopback`: what runs on this machine is not behind a proxy.
    """
    spare_loopback()
    spare_loopback()
    host = _host(url)  # empty for no URL at all, which the HTTP library tells
    given = re.split(r"[,\s]+", os.environ.get("no_proxy", ""))
    if not host or is_loopback(host) or proxy_bypass(host) or _in_range(host, given):
        return None
    with _socks_put_back():
        named = getproxies_environment()
    for scheme in (urlsplit(url).scheme.lower(), "all"):
        if named.get(scheme):
            names = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
            variable = next((name for name in names if with_socks().get(name)), names[1])
            return Proxy(variable, without_user(named[scheme]), host)
    return None


def mapping(url: str) -> dict[str, str]:
    """The proxy of a URL as urllib's ProxyHandler takes it, by scheme; none where the URL is asked directly."""
    if proxy_for(url) is None:
        return {}
    scheme, named = urlsplit(url).scheme.lower(), getproxies_environment()
    found = named.get(scheme) or named.get("all", "")
    return {scheme: found} if found else {}


def spare_loopback() -> None:
    """Let NO_PROXY of this process, and so of those that it starts, hold loopback and be readable for every library.

    httpx fails at its first use for an IPv6 range or address in brackets, and no library but requests obeys a range. So
    ranges of IPv6 and what no library reads are left out. The addresses of servers that variables name are added as
    they are, where a range holds them.
    """
    before = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    given = re.split(r"[,\s]+", before.strip(", \t"))
    if "*" in given:
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = "*"
        return
    servers = (_host(os.environ.get(name, "")) for name in _SERVERS)
    hosts = [*filter(None, map(_readable, given)), *_LOOPBACK, *(host for host in servers if _in_range(host, given))]
    # Both spellings: urllib reads the small one first.
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(dict.fromkeys(hosts))


def _readable(entry: str) -> str:
    """An entry of NO_PROXY as every library reads it; empty where none does."""
    address = re.sub(r"^\[(.*)\](:\d+)?$", r"\1", entry)
    if "[" in address or (":" in address and "/" in address):
        return ""
    try:
        return address if address.isascii() else address.encode("idna").decode()
    except UnicodeError:
        return ""


def _in_range(host: str, given: Sequence[str]) -> bool:
    """Whether a range among the entries of NO_PROXY holds a host that is an IP address."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        for entry in given:
            with contextlib.suppress(ValueError):
                network = ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
                if "/" in entry and address.version == network.version and address in network:
                    return True
    return False


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


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


@contextlib.contextmanager
def _socks_put_back() -> Iterator[None]:
    """Within the block, the environment has the variables that were set aside."""
    added = {name: value for name, value in with_socks().items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _is_socks(address: str) -> bool:
    return address.lower().startswith("socks")


def without_user(address: str) -> str:
    """An address, with or without a scheme, without the user's name and password.

    >>> without_user("http://me:secret@host/a@b"), without_user("me:secret@host:3128")
    ('http://host/a@b', 'host:3128')
    """
    scheme, separator, rest = address.rpartition("://")
    server, slash, path = rest.partition("/")
    return scheme + separator + server.rpartition("@")[2] + slash + path
