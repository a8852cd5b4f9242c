"""No fake server prints a traceback where its client goes away."""

from __future__ import annotations

import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler

import pytest

from tests.quiet_server import QuietServer
from tests.root import ROOT


class Sends(BaseHTTPRequestHandler):
    """Sends more than a connection holds, or fails by itself."""

    def do_GET(self):
        """Answer."""
        if self.path == "/fault":
            raise ValueError("of the fake itself")
        for _ in range(1000):
            self.wfile.write(bytes(1 << 16))

    def log_message(self, format, *args):
        """Nothing."""


def ask_and_go_away(address, path):
    with socket.create_connection(address) as connection:
        # Closing sends a reset at once, so that the server's next write fails.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        connection.recv(1)


@pytest.mark.parametrize(("path", "shown"), [("/", False), ("/fault", True)])
def test_a_client_that_goes_away_is_no_error_and_a_fault_is_one(capfd, path, shown):
    with QuietServer(("127.0.0.1", 0), Sends) as server:
        server.daemon_threads = False  # closing waits for the answers under way
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        ask_and_go_away(server.server_address, path)
        server.shutdown()
    assert ("ValueError: of the fake itself" in capfd.readouterr().err) == shown


def test_every_fake_server_is_such_a_one():
    own = {"quiet_server.py", "test_quiet_server.py"}
    found = [path for path in ROOT.glob("tests/**/*.py") if path.name not in own and "HTTPServer" in path.read_text()]
    assert found == []
