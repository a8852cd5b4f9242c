"""Where Ollama listens, by every form of OLLAMA_HOST."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.errors import ConfigError
from stages.judge.judges.address import parse_host


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("  ", "http://127.0.0.1:11434"),
        ("gpu-box", "http://gpu-box:11434"),
        ("gpu-box:8080", "http://gpu-box:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ('"192.168.1.2"', "http://192.168.1.2:11434"),
        ("http://gpu-box", "http://gpu-box:80"),
        ("http://gpu-box:11434/", "http://gpu-box:11434"),
        ("https://judge.example", "https://judge.example:443"),
        ("https://judge.example:8443/ollama/", "https://judge.example:8443/ollama"),
        ("HTTPS://judge.example", "https://judge.example:443"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("[::]", "http://[::1]:11434"),
        ("http://[fe80::1]/x", "http://[fe80::1]:80/x"),
    ],
)
def test_every_form_of_ollama_host(value, url):
    assert parse_host(value) == url


@pytest.mark.parametrize(
    "value", ["box:", "box:port", "box:0", "box:65536", "box:-1", "ftp://box", "a b", "-box", "://box"]
)
def test_what_is_no_address_is_said(value):
    with pytest.raises(ConfigError, match="OLLAMA_HOST: expected host, host:port or a URL"):
        parse_host(value)


def test_a_password_is_not_repeated():
    with pytest.raises(ConfigError) as caught:
        parse_host("http://me:secret@box:port")
    assert "secret" not in str(caught.value)


@settings(deadline=None)
@given(st.text())
def test_every_value_is_an_address_or_is_said(value):
    try:
        url = parse_host(value)
    except ConfigError:
        return
    assert url.startswith(("http://", "https://"))
