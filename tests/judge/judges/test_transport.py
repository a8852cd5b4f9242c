"""Connections and deadlines: every call ends in time, through proxies and TLS too."""

import contextlib
import socket
import ssl
import subprocess
import threading
import time

import pytest
import requests

from stages.judge.judges import transport
from stages.judge.judges.deadline import Deadline, _clock
from stages.judge.judges.transport import MAX_BYTES, Client, Fault, as_object, error_message, excerpt, parse
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


def reply(status, content=b"", **headers):
    """A behaviour: this answer, with its length."""

    def behave(exchange):
        exchange.handler.send_response(status)
        for name, value in headers.items():
            exchange.handler.send_header(name.replace("_", "-"), value)
        exchange.handler.send_header("Content-Length", str(len(content)))
        exchange.handler.end_headers()
        exchange.handler.wfile.write(content)

    return behave


BODY = {"model": "llama3", "messages": [{"role": "user", "content": "x"}]}


@contextlib.contextmanager
def asking(*behaviours, **options):
    """A client of a server that behaves so, and the server."""
    options = {"connections": 1, **options}
    with FakeOllama(list(behaviours)) as server, contextlib.closing(Client(server.url, **options)) as client:
        yield client, server


def fault(client, deadline=None):
    """The message of a call that brings no answer, and what its fault says beyond the defaults."""
    with pytest.raises(Fault) as caught:
        client.call("POST", "/api/chat", BODY, Deadline(60.0) if deadline is None else deadline)
    plain = {"status": None, "unreachable": False, "absent": False, "repeatable": True, "wait": 0.0, "late": False}
    return str(caught.value), {name: value for name, value in vars(caught.value).items() if value != plain[name]}


def test_an_answer_of_the_greatest_size_is_read_and_one_byte_more_is_too_much():
    assert MAX_BYTES == 1_048_576
    with asking(reply(200, b"x" * MAX_BYTES), reply(200, b"x" * (MAX_BYTES + 1))) as (client, _):
        assert client.call("POST", "/api/chat", BODY, Deadline(60.0)) == b"x" * MAX_BYTES
        assert fault(client) == ("the answer went on past 1048576 bytes", {"repeatable": False})


STATUSES = {429: True, 500: True, 502: True, 503: True, 504: True}
STATUSES |= dict.fromkeys([201, 299, 400, 401, 404, 428, 430, 499, 501, 505], False)


def test_the_statuses_after_which_the_same_request_may_succeed():
    with asking(*(reply(status, b'{"error": "why"}') for status in STATUSES)) as (client, _):
        for status, repeatable in STATUSES.items():
            more = {"status": status} if repeatable else {"status": status, "repeatable": False}
            assert fault(client) == (f"HTTP {status}: why", more)


def test_no_redirect_is_followed():
    statuses = (300, 301, 307, 308, 399)
    with asking(*(reply(status, Location="/api/chat") for status in statuses)) as (client, server):
        for status in statuses:
            said, more = fault(client)
            assert said == f"HTTP {status}: a redirect, which is not followed; name the address where the server is"
            assert more == {"status": status, "repeatable": False}
        assert len(server.chats) == 5


def test_the_key_is_in_the_header_and_in_no_message():
    headers = []

    def refuse(exchange):
        headers.append(exchange.handler.headers["Authorization"])
        reply(401, b'{"error": "sk-1 is no key"}')(exchange)

    with asking(refuse, key="sk-1") as (client, _):
        assert fault(client)[0] == "HTTP 401: *** is no key"
    with asking(refuse) as (client, _):
        assert fault(client)[0] == "HTTP 401: sk-1 is no key"
    assert headers == ["Bearer sk-1", None]


def test_a_fault_may_be_repeated_and_says_no_more_unless_told():
    found = vars(Fault("why"))
    assert found == {
        "status": None,
        "unreachable": False,
        "absent": False,
        "repeatable": True,
        "wait": 0.0,
        "late": False,
    }


def test_nobody_listens(monkeypatch):
    """On this machine none runs, until one has answered there, which may be starting again."""
    gone = "no connection: Connection refused"
    with asking(reply(200)) as (client, server):
        client.call("POST", "/api/chat", BODY, Deadline(60.0))
        server.stop()
        client._session.get_adapter(server.url).close()
        assert fault(client) == (gone, {"unreachable": True})
        with contextlib.closing(Client(server.url, connections=1)) as another:
            assert fault(another) == (gone, {"unreachable": True, "absent": True, "repeatable": False})
        monkeypatch.setenv("HTTP_PROXY", server.url)
        monkeypatch.setenv("http_proxy", server.url)
        with contextlib.closing(Client("http://judge.invalid", connections=1)) as beyond:
            said, more = fault(beyond)
            assert said.startswith(f"{gone} (")
            assert said.endswith(")")
            assert "to fix it: " in said
            assert more == {"unreachable": True}


def test_a_deadline_that_is_over_asks_nothing():
    with asking(reply(200)) as (client, server):
        late = {"repeatable": False, "late": True}
        assert fault(client, Deadline(0.0)) == ("no complete answer within 0 s", late)
        assert fault(client, Deadline(0.0, remedy="wait")) == ("no complete answer within 0 s; wait", late)
        client.close()
        assert fault(client) == ("no complete answer within 60 s", late)
        with contextlib.closing(Client(server.url, connections=1)) as another:
            another.call("POST", "/api/chat", BODY, Deadline(60.0))
        assert (len(server.connections), len(server.chats)) == (1, 1)  # the other's


def unending(exchange):
    """Begins an answer that has no length, and says no more."""
    exchange.handler.send_response(200)
    exchange.handler.end_headers()
    exchange.handler.wfile.write(b"part")
    exchange.handler.wfile.flush()
    exchange.wait()


def test_an_answer_that_does_not_end_is_late_and_one_that_falls_silent_is_asked_for_again():
    late = {"repeatable": False, "late": True}
    with asking(unending, fake.silent, unending) as (client, _):
        assert fault(client, Deadline(0.5)) == ("no complete answer within 0.5 s", late)
        assert fault(client, Deadline(0.5)) == ("no complete answer within 0.5 s", late)
        assert fault(client, Deadline(60.0, stall=0.25)) == ("nothing heard for 0.25 s", {})


def test_what_breaks_off_is_asked_for_again_and_what_cannot_be_asked_is_not():
    with asking(fake.cut_before_answer) as (client, server):
        assert fault(client) == ("the connection broke off", {})
        with contextlib.closing(Client(server.url.replace("http", "https"), connections=1)) as secure:
            said, more = fault(secure)
            assert said.startswith("no secure connection: ")
            assert more == {"unreachable": True, "repeatable": False}
    with contextlib.closing(Client("nowhere", connections=1)) as client:
        assert fault(client) == ("the request cannot be made (MissingSchema)", {"repeatable": False})


class Recording(requests.adapters.BaseAdapter):
    """Makes no connection, and keeps the timeouts of requests."""

    def __init__(self):
        super().__init__()
        self.timeouts = []

    def send(self, request, timeout=None, **_):
        self.timeouts.append(timeout)
        raise requests.ConnectTimeout

    def close(self):
        pass


def test_the_times_for_a_connection_and_for_a_silence():
    """Ten seconds at most to connect; the deadline ends the reading before the timeout of the socket does."""
    with contextlib.closing(Client("http://127.0.0.1:9", connections=1)) as client:
        recording = Recording()
        client._session.mount("http://", recording)
        assert fault(client) == ("no connection within the time for it", {"unreachable": True})
        fault(client, Deadline(5.0))
        fault(client, Deadline(0.9))
    (connect, read), (shorter, less), (shortest, _) = recording.timeouts
    assert connect == 10.0
    assert 60.0 < read <= 61.0
    assert 4.0 < shorter <= 5.0
    assert 5.0 < less <= 6.0
    assert shortest <= 0.9


class Shut(Recording):
    """Fails as TLS does over a socket that was shut; ``deadline`` is over by then, if there is one."""

    deadline = None

    def send(self, request, **_):
        if self.deadline is not None:
            self.deadline.expire()
        raise ValueError("of TLS")


def test_an_error_of_tls_at_the_deadline_is_late_and_another_one_is_not_hidden():
    with contextlib.closing(Client("http://127.0.0.1:9", connections=1)) as client:
        shut = Shut()
        client._session.mount("http://", shut)
        with pytest.raises(ValueError, match="of TLS"):
            client.call("POST", "/api/chat", BODY, Deadline(60.0))
        shut.deadline = Deadline(60.0)
        late = {"repeatable": False, "late": True}
        assert fault(client, shut.deadline) == ("no complete answer within 60 s", late)


def test_there_is_one_connection_more_than_verdicts_and_all_others_wait():
    with contextlib.closing(Client("http://judge.invalid", connections=3)) as client:
        adapter = client._session.get_adapter("http://judge.invalid")
        assert adapter is client._session.get_adapter("https://judge.invalid")
        assert (adapter._pool_connections, adapter._pool_maxsize, adapter._pool_block) == (1, 4, True)
        assert client._session.trust_env is True
    with contextlib.closing(Client("http://127.0.0.1:9", connections=1)) as client:
        assert client._session.trust_env is False


class Waits(list):
    """Stands for the event of a closed client: a wait is noted and is over at once."""

    def wait(self, seconds):
        self.append(seconds)

    def set(self):
        pass


def waits(retries, seconds=1e6, **about):
    """The waits between attempts that all fail, and the number of attempts; a first wait is a second."""
    attempts = []

    def attempt():
        attempts.append(1)
        raise Fault(f"attempt {len(attempts)}", **about)

    with contextlib.closing(Client("http://127.0.0.1:9", connections=1, first_wait=1.0)) as client:
        client._closed = Waits()
        with pytest.raises(Fault) as caught:
            client.repeated(attempt, Deadline(seconds), retries=retries)
        assert str(caught.value) == f"attempt {len(attempts)}"
        return list(client._closed), len(attempts)


def test_waits_are_doubled_up_to_the_longest_and_shortened_by_up_to_a_half():
    assert (transport.FIRST_WAIT, transport.LONGEST_WAIT, transport.LONGEST_ASKED) == (0.5, 15.0, 60.0)
    assert (transport.LOOK_UP_SECONDS, transport.STALL_SECONDS) == (30.0, 30.0)
    found = [waits(6) for _ in range(30)]
    assert {attempts for _, attempts in found} == {7}
    for number, longest in enumerate([1, 2, 4, 8, 15, 15]):
        these = [made[number] / longest for made, _ in found]
        assert 0.5 <= min(these) < 0.75 < max(these) <= 1


def test_a_server_is_waited_for_as_long_as_it_asks_and_no_longer_than_a_minute():
    assert waits(2, wait=20.0) == ([20.0, 20.0], 3)
    assert waits(1, wait=1000.0) == ([60.0], 2)
    assert waits(1, wait=20.0, seconds=19.0) == ([], 1)


def test_what_repeating_does_not_fix_is_not_repeated():
    assert waits(5, repeatable=False) == ([], 1)
    assert waits(0) == ([], 1)


def test_what_is_no_json_is_said():
    assert parse(b'{"a": 1}') == {"a": 1}
    for content, said in ((b"<html>", "not JSON: '<html>'"), (b"\xff", "not JSON: '\ufffd'")):
        with pytest.raises(Fault) as caught:
            parse(content)
        assert str(caught.value) == said
    with pytest.raises(Fault, match="not JSON"):
        parse(b"[" * 100_000)
    assert (as_object({"a": 1}), as_object([1])) == ({"a": 1}, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"error": "no memory"}', "no memory"),
        (b'{"error": {"message": "slow down", "code": 5}}', "slow down"),
        (b'{"error": {"code": 5}}', "{'code': 5}"),
        (b'{"error": ["message"]}', "['message']"),
        (b'{"other": 1}', '{"other": 1}'),
        (b"[1]", "[1]"),
        (b" bad\n gateway ", "bad gateway"),
        (b"  ", "no message"),
    ],
)
def test_what_a_server_says_of_an_error(content, message):
    assert error_message(content) == message


def test_a_long_text_is_cut():
    assert excerpt("x" * 200) == "x" * 200
    assert excerpt("x" * 201) == "x" * 200 + "…"
    assert excerpt("a\n b", 3) == "a b"
    assert excerpt("\ud800") == "\\ud800"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7.0), ("12345678", 12345678.0), ("123456789", 0.0), ("٣", 0.0), ("-1", 0.0), ("1.5", 0.0), ("", 0.0)],
)
def test_the_seconds_that_a_server_asks_for(said, seconds):
    assert transport._seconds(said) == seconds
