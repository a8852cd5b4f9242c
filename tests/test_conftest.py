"""The guard around all tests: what is beyond this machine cannot be reached."""

from __future__ import annotations

import os
import socket
import urllib.request
from pathlib import Path

import pytest


@pytest.mark.parametrize("url", ["http://192.0.2.1/", "http://example.org/"])
def test_other_machines_cannot_be_reached_and_trying_is_noted(
    network_attempts: list[str], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(OSError, match=r"unreachable|not known"):
        urllib.request.urlopen(url, timeout=5)
    assert network_attempts == [url[7:-1]]
    network_attempts.clear()


@pytest.mark.parametrize("connect", [socket.socket.connect, socket.socket.connect_ex])
def test_no_socket_gets_there(network_attempts: list[str], connect) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(OSError, match="unreachable"):
        connect(sock, ("192.0.2.1", 9))
    network_attempts.clear()


def test_this_machine_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        socket.create_connection(("localhost", port), timeout=5).close()


def test_the_home_folder_is_nobodys() -> None:
    assert Path.home() == Path(os.environ["HOME"])
    assert Path.home().name.startswith("home-")
