"""What a token of the hub may do, as far as the hub's whoami says it.

A token of the role ``read`` may write nothing. One of the role ``fineGrained`` has lists of permissions: ``global``
ones, and ``scoped`` ones for an account, an organization or a repository. A token of another role may write what its
account may, which whoami does not say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

#: The permissions of which one is needed, as the hub spells them: all of a repository, or its files alone.
_WRITING = frozenset({"repo.write", "repo.content.write"})


def refusal(account: Mapping[str, Any], name: str) -> str | None:
    """Why a token may not write to a repository; None where it may, or where whoami leaves that open.

    Args:
        account: the hub's answer to whoami.
        name: owner and name of the repository.
    """
    token = account.get("auth", {}).get("accessToken", {})
    if token.get("role") == "read":
        return f"the token of {account.get('name')} may only read"
    scopes = token.get("fineGrained")
    if token.get("role") != "fineGrained" or not scopes:
        return None
    if _WRITING.isdisjoint(_permissions(scopes, name)):
        return f"the fine-grained token of {account.get('name')} has no write access to it"
    return None


def _permissions(scopes: Mapping[str, Any], name: str) -> Iterator[str]:
    """The permissions that a fine-grained token has for a repository."""
    yield from scopes.get("global") or []
    owner = name.split("/", maxsplit=1)[0]
    for scope in scopes.get("scoped") or []:
        entity = str(scope.get("entity", {}).get("name") or "").removeprefix("models/")
        if entity.casefold() in ("", owner.casefold(), name.casefold()):  # one without a name may be this one
            yield from scope.get("permissions") or []
