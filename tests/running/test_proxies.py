"""Which proxy an address is asked through, by the variables of the environment. With servers: tests/download."""

from __future__ import annotations

import os
from urllib.request import proxy_bypass

import pytest

from stages.running import proxies

_PROXY = "http://me:secret@127.0.0.1:9"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        for spelled in (name, name.upper()):
            monkeypatch.setenv(spelled, "")  # so that what the code sets is undone
            monkeypatch.delenv(spelled)


@pytest.mark.parametrize(
    ("variables", "url", "expected"),
    [
        ({}, "http://example.org/x", None),
        ({"HTTP_PROXY": _PROXY}, "http://example.org/x", "through the proxy http://127.0.0.1:9 of HTTP_PROXY"),
        ({"HTTP_PROXY": _PROXY}, "https://example.org/x", None),
        ({"all_proxy": "socks5://box:1"}, "https://example.org", "through the proxy socks5://box:1 of all_proxy"),
        ({"HTTP_PROXY": _PROXY}, "http://127.0.0.1:8000/x", None),
        ({"HTTP_PROXY": _PROXY, "NO_PROXY": "example.org"}, "http://example.org/x", None),
        ({"HTTP_PROXY": _PROXY, "NO_PROXY": "*"}, "http://example.org/x", None),
        ({"HTTP_PROXY": _PROXY, "no_proxy": "box, *"}, "http://example.org/x", None),
        ({"HTTP_PROXY": _PROXY}, "http://[::1", None),
    ],
)
def test_the_proxy_of_an_address(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, expected: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = proxies.proxy_for(url)
    assert (None if found is None else str(found)) == expected
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("before", "after"),
    [("", "localhost,127.0.0.1,::1"), ("example.org, localhost", "example.org,localhost,127.0.0.1,::1"), ("*", "*")],
)
def test_this_machine_is_added_to_the_hosts_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    monkeypatch.setenv("NO_PROXY", before)
    proxies.spare_loopback()
    proxies.spare_loopback()
    assert (os.environ["NO_PROXY"], os.environ["no_proxy"]) == (after, after)
    assert proxy_bypass("127.0.0.1")
    assert bool(proxy_bypass("other.org")) == (before == "*")
