"""Secrets: where they may go, and that no message shows them."""

from __future__ import annotations

import pytest

from stages.common import secrecy
from stages.common.errors import ConfigError
from stages.common.secrecy import has_user, hidden, is_loopback
from stages.running.console import say


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("box", False), ("10.0.0.1", False)],
)
def test_loopback(host, loopback):
    assert is_loopback(host) == loopback


@pytest.mark.parametrize(
    "url", ["https://box/v1", "HTTPS://box", "http://localhost:8000", "http://127.0.0.1/v1", "http://[::1]:80/"]
)
def test_a_secret_may_go_encrypted_or_to_this_machine(url):
    secrecy.require(url, "the key", named_by="URL", fix="-")


@pytest.mark.parametrize("url", ["http://box/v1", "HTTP://192.0.2.1", "http://me:secret@box:80/", "http://0.0.0.0/"])
def test_a_secret_does_not_go_unencrypted_to_another_machine(monkeypatch, url):
    with pytest.raises(ConfigError, match=r"^URL: the key would go unencrypted to \S+: expected https://") as caught:
        secrecy.require(url, "the key", named_by="URL", fix="use https")
    assert caught.value.fix == "use https; or, on a network that you trust, export PIPELINE_KEY_OVER_HTTP=1"
    assert "secret" not in str(caught.value)

    monkeypatch.setenv("PIPELINE_KEY_OVER_HTTP", "1")
    secrecy.require(url, "the key", named_by="URL", fix="-")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:secret@box/a@b", "http://***@box/a@b"),
        ("at postgresql://me:se:c@ret@box:5432/db now", "at postgresql://***@ret@box:5432/db now"),
        ("https://token@box", "https://***@box"),
        ("https://box/?mail=a@b", "https://box/?mail=a@b"),
        ("mail a@b", "mail a@b"),
    ],
)
def test_passwords_of_urls_are_hidden(capsys, text, shown):
    assert hidden(text) == shown
    assert has_user(text) == (text != shown)
    say(text)
    assert capsys.readouterr().out == f"{shown}\n"
