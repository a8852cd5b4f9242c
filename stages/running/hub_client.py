"""huggingface_hub's own HTTP client, which shows its token to nobody else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stages.common import secrecy
from stages.running.proxies import Proxy

if TYPE_CHECKING:
    import httpx2


def client(
    url: str,
    proxy: Proxy | None,
    *,
    without_token: str = "",
    timeout: httpx2.Timeout | None = None,
    asked: Callable[[], None] = lambda: None,
    answered: Callable[[httpx2.Response], None] = lambda _response: None,
) -> httpx2.Client:
    """A client as huggingface_hub makes it.

    Args:
        url: what is asked for, for messages.
        proxy: the proxy through which it is asked.
        without_token: how to go on without a token, for the message where it would go unencrypted; empty: nobody can.
        timeout: its time limits; None: it has none.
        asked: function that is called with each request.
        answered: function that is called with each response.

    Raises:
        ConfigError: the proxy is of a kind that cannot be used. Requests raise it that would show the token to others.
    """
    import httpx2
    from huggingface_hub.utils._http import hf_request_event_hook

    def request_hook(request: httpx2.Request) -> None:
        if "Authorization" in request.headers:
            fix = f"set HF_ENDPOINT to an https:// address{without_token}"
            secrecy.require(str(request.url), "the Hugging Face token", named_by="HF_ENDPOINT", fix=fix)
        hf_request_event_hook(request)
        asked()

    hooks: dict[str, list[Any]] = {"request": [request_hook], "response": [answered]}
    made = functools.partial(httpx2.Client, event_hooks=hooks, follow_redirects=True, timeout=timeout)
    try:
        return made()
    except (ImportError, ValueError) as error:  # it makes a connection for every proxy, also for those not asked here
        if proxy is not None:
            raise proxy.unusable(url, "socksio") from error
        return made(trust_env=False)
