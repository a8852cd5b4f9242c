"""Where Ollama listens, by the rules with which `ollama` itself reads OLLAMA_HOST (its envconfig package)."""

from __future__ import annotations

import ipaddress
import os
import re

from stages.common.errors import ConfigError

VARIABLE = "OLLAMA_HOST"
_DEFAULT_PORT = {"http": 80, "https": 443}
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def ollama_url() -> str:
    """The base URL that OLLAMA_HOST names, without a slash at its end; http://127.0.0.1:11434 if it is not set.

    Raises:
        ConfigError: OLLAMA_HOST is no address.
    """
    return parse_host(os.environ.get(VARIABLE, ""))


def parse_host(value: str) -> str:
    """Turn host, host:port or a URL into a base URL.

    Without a scheme the port is 11434 unless it is said; with one it is the scheme's, as Ollama has it. The addresses
    on which a server listens to everybody, 0.0.0.0 and ::, are reached at this machine's loopback address.

        "" -> "http://127.0.0.1:11434"       "gpu-box" -> "http://gpu-box:11434"
        "0.0.0.0:8000" -> "http://127.0.0.1:8000"    "https://judge.example/ollama/" -> "https://judge.example:443/ollama"

    Raises:
        ConfigError: the value is none of these.
    """
    text = value.strip().strip("\"'").strip()
    scheme, separator, rest = text.rpartition("://")
    scheme = scheme.lower() if separator else "http"
    if scheme not in _DEFAULT_PORT:
        raise _wrong(value, f"a URL begins with http:// or https://, not {scheme}://")
    host_port, slash, path = rest.partition("/")
    host, port = _split(host_port, value)
    if port is None:
        port = _DEFAULT_PORT[scheme] if separator else 11434
    return f"{scheme}://{_host(host, value)}:{port}{slash}{path}".rstrip("/")


def _split(host_port: str, value: str) -> tuple[str, int | None]:
    """Take host and port apart: [::1]:80 is ("::1", 80), ::1 is ("::1", None), box:80 is ("box", 80)."""
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", host_port)
    if bracketed:
        host, port = bracketed.groups()
    elif host_port.count(":") > 1:
        return host_port, None
    else:
        host, colon, port = host_port.partition(":")
        port = port if colon else None
    if port is None:
        return host, None
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise _wrong(value, "the port is a number from 1 to 65535")
    return host, int(port)


def _host(host: str, value: str) -> str:
    try:
        address = ipaddress.ip_address(host or "127.0.0.1")
    except ValueError:
        if _NAME.fullmatch(host):
            return host
        raise _wrong(value, "the host is a name or an IP address") from None
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{address}]" if address.version == 6 else str(address)


def _wrong(value: str, why: str) -> ConfigError:
    # What stands before an @ may be a password.
    shown = value.rpartition("@")[2] if "@" in value else value
    return ConfigError(
        f"{VARIABLE}: expected host, host:port or a URL ({why}); found {shown!r}", f"export {VARIABLE}=127.0.0.1:11434"
    )
