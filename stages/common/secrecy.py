"""Secrets, such as keys and passwords: they neither cross a network unencrypted nor stand in a message."""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import urlsplit

from stages.common.errors import ConfigError

#: The variable that allows to send them unencrypted.
ALLOW_PLAIN = "PIPELINE_KEY_OVER_HTTP"
#: What a URL says of a user, up to the @ before the host.
_USER = re.compile(r"(?<=://)[^@/\s?#]*@")


def is_loopback(host: str) -> bool:
    """Whether a host, as a URL holds it, is this machine itself."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def require(url: str, secret: str, *, named_by: str, fix: str) -> None:
    """Refuse to send a secret where others on the way can read it.

    Args:
        url: address that it would go to.
        secret: what the message calls it, such as ``the key in OPENAI_API_KEY``.
        named_by: key or variable that names the address.
        fix: what the user can do, besides allowing it.

    Raises:
        ConfigError: the address is that of another machine, without TLS, and `ALLOW_PLAIN` does not allow it.
    """
    parts = urlsplit(url)
    if parts.scheme.lower() != "http" or is_loopback(parts.hostname or ""):
        return
    if os.environ.get(ALLOW_PLAIN, "").strip() == "1":
        return
    raise ConfigError(
        f"{named_by}: {secret} would go unencrypted to {parts.hostname}: expected https:// or this machine, "
        "found http://",
        f"{fix}; or, on a network that you trust, export {ALLOW_PLAIN}=1",
    )


def has_user(url: str) -> bool:
    """Whether a URL holds a user's name or password, as in ``https://me:secret@host/``."""
    return _USER.search(url) is not None


def hidden(text: str) -> str:
    """A text without the names and passwords that its URLs hold.

    >>> hidden("asked http://me:secret@host/path")
    'asked http://***@host/path'
    """
    return _USER.sub("***@", text)
