"""Reasons of failures over a network, from the libraries that raise them."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

import pytest
import requests

from stages.common.reasons import reason


@pytest.fixture
def closed() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_refused_connection_is_said_in_the_words_of_the_system(closed):
    with pytest.raises(requests.ConnectionError) as by_requests:
        requests.get(closed, timeout=5)
    with pytest.raises(urllib.error.URLError) as by_urllib:
        urllib.request.urlopen(closed, timeout=5)

    assert reason(by_requests.value) == reason(by_urllib.value) == "Connection refused"


def test_a_silent_server_is_said():
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(requests.Timeout) as caught:
        requests.get(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.1)

    assert reason(caught.value) == "no answer in time"


def test_another_error_is_its_first_cause_on_one_line():
    inner = ValueError("first line\nsecond line")
    outer = RuntimeError("wrapped")
    outer.__cause__ = inner

    assert reason(outer) == "first line"
    assert reason(KeyError()) == "KeyError"
    assert len(reason(ValueError("x" * 500))) == 201
