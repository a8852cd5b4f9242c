"""Connections and deadlines: every call ends in time, through proxies and TLS too."""

import contextlib
import socket
import ssl
import subprocess
import threading
import time

import pytest

from stages.judge.judges.deadline import Deadline, _clock
from stages.judge.judges.transport import Client, Fault
from tests import fake_ollama as fake
from tests.fake_ollama import FakeOllama, score
from tests.judge.judging import QUESTION


@pytest.mark.thorough
def test_a_proxy_is_held_to_the_deadline_too(monkeypatch):
    """The proxy is the fake itself, which lets a byte drop now and then."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with FakeOllama([fake.drip]) as server:
        monkeypatch.setenv("HTTP_PROXY", server.url)
        client = Client("http://judge.invalid", connections=1)
        body = {"model": "llama3", "messages": [{"role": "user", "content": "x"}]}
        begin = time.monotonic()
        with pytest.raises(Fault, match=r"no complete answer within 2 s"):
            client.call("POST", "/api/chat", body, Deadline(2.0))
        assert time.monotonic() - begin < 60
        client.close()
    assert server.chats == [body]


@pytest.mark.parametrize(("asked", "waited"), [("1", 1.0), ("Wed, 25 Nov 2026 18:00:00 GMT", 0.0), ("soon", 0.0)])
def test_a_server_says_when_to_come_again(monkeypatch, asked, waited):
    def busy(exchange):
        exchange.handler.send_response(503)
        exchange.handler.send_header("Retry-After", asked)
        exchange.handler.send_header("Content-Length", "0")
        exchange.handler.end_headers()

    body = {"model": "llama3", "messages": [{"role": "user", "content": "x"}]}
    with FakeOllama([busy]) as server, contextlib.closing(Client(server.url, connections=1)) as client:
        with pytest.raises(Fault) as caught:
            client.call("POST", "/api/chat", body, Deadline(60.0))
        assert caught.value.wait == waited

    begin = time.monotonic()
    faults = iter([Fault("busy", wait=0.2)])

    def attempt():
        if (fault := next(faults, None)) is not None:
            raise fault
        return "answer"

    client = Client("http://127.0.0.1:9", connections=1, first_wait=0.001)
    assert client.repeated(attempt, Deadline(60.0), retries=1) == "answer"
    assert time.monotonic() - begin >= 0.2


def test_a_proxy_is_not_asked_for_this_machine(opened, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with FakeOllama([score(85)]) as server:
        assert opened(server).judge(QUESTION).score == 85


def test_one_connection_serves_all_calls_of_a_thread(opened):
    with FakeOllama([score(85)]) as server:
        judge = opened(server)
        for _ in range(5):
            judge.judge(QUESTION)
    assert len(server.connections) == 1


def test_closing_ends_a_call_under_way(opened):
    with FakeOllama([fake.talk]) as server:
        judge = opened(server, deadline_seconds=600.0)
        judgements = []
        thread = threading.Thread(target=lambda: judgements.append(judge.judge(QUESTION)))
        thread.start()
        while not server.chats:
            time.sleep(0.005)
        judge.close()
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert judgements[0].status == "failed"


def test_deadlines_end_with_their_calls(opened):
    held = []

    def behave(exchange):
        held.append(len(_clock))
        score(85)(exchange)

    with FakeOllama([behave]) as server:
        opened(server, deadline_seconds=600.0).judge(QUESTION)
    assert held == [1]
    assert len(_clock) == 0


def test_a_deadline_that_cannot_end_its_call_keeps_no_other_from_its_end():
    class Broken(Deadline):
        def expire(self):
            raise AttributeError("shutdown")

    ours, theirs = socket.socketpair()
    with ours, theirs, Broken(0.01), Deadline(0.05) as deadline:
        deadline.watch(ours, ours)
        theirs.settimeout(60)
        assert theirs.recv(1) == b""  # shut


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and its certificate for localhost, in one file."""
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [*command, *names, "-keyout", path, "-out", path.with_suffix(".crt")], check=True, capture_output=True
    )
    with path.open("a") as file:
        file.write(path.with_suffix(".crt").read_text())
    return path


@contextlib.contextmanager
def tunnel(server, context):
    """A proxy that speaks TLS and lets one connection through, whatever it carries; yields its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def carry(source, target):
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                target.sendall(piece)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve():
        with contextlib.suppress(OSError):
            outside = context.wrap_socket(listener.accept()[0], server_side=True)
            while not outside.recv(1 << 16).endswith(b"\r\n\r\n"):
                pass
            inside = socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])))
            outside.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            other = threading.Thread(target=carry, args=(inside, outside))
            other.start()
            carry(outside, inside)
            other.join()
            outside.close()
            inside.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"https://localhost:{listener.getsockname()[1]}"
    finally:
        thread.join()
        listener.close()


@pytest.mark.thorough
@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "through a proxy's TLS"])
def test_what_drips_through_tls_is_ended_and_so_is_the_next(certificate, proxied):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    body = {"model": "llama3", "messages": [{"role": "user", "content": "x"}]}
    with contextlib.ExitStack() as stack:
        server = FakeOllama([fake.drip])
        server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
        stack.enter_context(server)
        client = stack.enter_context(
            contextlib.closing(Client(server.url.replace("http://127.0.0.1", "https://localhost"), connections=1))
        )
        client._session.verify = str(certificate)
        for _ in range(2):
            with contextlib.ExitStack() as once:
                if proxied:
                    client._session.proxies = {"https": once.enter_context(tunnel(server, context))}
                begin = time.monotonic()
                with pytest.raises(Fault, match=r"no complete answer within 2 s"):
                    client.call("POST", "/api/chat", body, Deadline(2.0))
                assert time.monotonic() - begin < 60
    assert len(server.chats) == 2
    assert len(_clock) == 0
