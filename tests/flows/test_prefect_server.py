"""Whether a Prefect server answers, with real sockets. What is said of one that does not: test_pipeline.py."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from flows import prefect_server


def serve(listener: socket.socket, silent: int, answer: bytes) -> list[socket.socket]:
    """Take connections: the first few hear nothing, the next one gets an answer. Returns all, which stay open."""
    taken: list[socket.socket] = []

    def take() -> None:
        for _ in range(silent + 1):
            taken.append(listener.accept()[0])
        with contextlib.suppress(OSError):  # the test has heard enough, and closed it
            taken[-1].sendall(answer)
            taken[-1].shutdown(socket.SHUT_WR)

    threading.Thread(target=take, daemon=True).start()
    return taken


@pytest.mark.parametrize(
    ("silent", "answer", "expected"),
    [
        (0, b"HTTP/1.0 200 OK\r\n\r\ntrue", True),
        (0, b"HTTP/1.0 503 Busy\r\n\r\n", True),
        (2, b"HTTP/1.0 200 OK\r\n\r\ntrue", True),
        (3, b"", False),
        (0, b"SSH-2.0-OpenSSH_9.6\r\n", False),
    ],
)
def test_a_slow_server_is_asked_again_before_it_counts_as_gone(
    monkeypatch: pytest.MonkeyPatch, silent: int, answer: bytes, expected: bool
) -> None:
    monkeypatch.setattr(prefect_server, "_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = serve(listener, silent, answer)
        assert prefect_server.answers(f"http://127.0.0.1:{listener.getsockname()[1]}/api") is expected
        for connection in taken:
            connection.close()


def test_an_address_where_nobody_listens_is_asked_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert not prefect_server.answers(f"http://127.0.0.1:{port}/api")
    assert not prefect_server.answers("no address")
