"""A server on loopback that speaks Ollama's protocol as the real one (0.32.15) was seen to, with faults on demand.

In tests:      with FakeOllama([server_error(503), score(85)]) as server: ... server.url ... server.chats
As a program:  python -m tests.fake_ollama --port 0 --model llama3    (prints its address)

Each POST /api/chat that has messages takes the next behaviour of the list, and the last again and again; a function of
the request's body gives behaviours by what is asked. A behaviour is a function of an `Exchange`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.quiet_server import QuietServer
from tests.root import ROOT

#: The answers to the self-test's probes that are right in other words, by reference.
PROBES = [ROOT / "stages" / "judge" / name for name in ("probes.json", "contrasts.json")]
PARAPHRASES = {
    row["reference"]: {row[name] for name in ("paraphrase", "verbose", "terse") if name in row}
    for path in PROBES
    for row in json.loads(path.read_text(encoding="utf-8"))
}

VERSION = "0.32.15"
DIGEST = "365c0bd3c000a25d28ddbf732fe1c6add414de7275464c4e4d1c3b5fcb5d8ad1"
CREATED = "2026-11-22T04:36:02.111838845Z"


@dataclass
class Exchange:
    """One chat request, and the means to answer it piece by piece."""

    body: dict[str, Any]
    handler: Handler
    stopped: threading.Event
    started: bool = field(default=False, init=False)

    @property
    def prompt_tokens(self) -> int:
        return max(1, len(prompt(self.body).encode()) // 3)

    @property
    def context(self) -> int:
        return int(self.body.get("options", {}).get("num_ctx", 4096))

    def status(self, code: int, value: Any) -> None:
        self.handler.answer(code, value)

    def chunk(self, data: bytes) -> None:
        """One chunk of the stream; the first sends the headers."""
        if not self.started:
            self.started = True
            self.handler.send_response(200)
            self.handler.send_header("Content-Type", "application/x-ndjson")
            self.handler.send_header("Transfer-Encoding", "chunked")
            self.handler.end_headers()
        self.handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.handler.wfile.flush()

    def line(self, value: Any) -> None:
        self.chunk(json.dumps(value).encode() + b"\n")

    def part(self, content: str) -> None:
        self.line(self.frame(content))

    def end(self) -> None:
        self.handler.wfile.write(b"0\r\n\r\n")

    def cut(self) -> None:
        """Break the connection off without an end."""
        self.handler.close_connection = True
        self.handler.connection.shutdown(socket.SHUT_RDWR)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait; true when the server is being stopped."""
        return self.stopped.wait(seconds)

    def frame(self, content: str, **more: Any) -> dict[str, Any]:
        message = {"role": "assistant", "content": content}
        return {"model": self.body["model"], "created_at": CREATED, "message": message, "done": False, **more}

    def final(self, reason: str = "stop", content: str = "", **more: Any) -> dict[str, Any]:
        counters = {
            "total_duration": 759368976,
            "load_duration": 856218,
            # What the real server was seen to leave of a prompt that is too long: 130 of a context of 256.
            "prompt_eval_count": self.prompt_tokens if self.prompt_tokens <= self.context else self.context // 2 + 2,
            "prompt_eval_duration": 281467000,
            "eval_count": 10,
            "eval_duration": 474565000,
        }
        return self.frame(content, done=True, done_reason=reason, **(counters | more))


Behaviour = Callable[[Exchange], None]


def prompt(body: dict[str, Any]) -> str:
    return "\n".join(message["content"] for message in body["messages"])


def text(content: str, reason: str = "stop", **more: Any) -> Behaviour:
    """Answer with these words, a few characters a line, or as one object where the request says stream: false."""

    def behave(exchange: Exchange) -> None:
        if exchange.body.get("stream") is False:
            return exchange.status(200, exchange.final(reason, content, **more))
        for start in range(0, len(content), 5):
            exchange.part(content[start : start + 5])
        exchange.line(exchange.final(reason, **more))
        return exchange.end()

    return behave


def score(value: Any) -> Behaviour:
    """Answer as the real server does under a schema: JSON with white space."""
    return text(f'{{\n  "score": {json.dumps(value)}\n}}')


def server_error(
    status: int, message: str = "server busy, please try again.  maximum pending requests exceeded"
) -> Behaviour:
    return lambda exchange: exchange.status(status, {"error": message})


def too_long() -> Behaviour:
    nested = {
        "error": {"code": 400, "message": "request (1010 tokens) exceeds the available context size (256 tokens)"}
    }
    return server_error(400, json.dumps(nested))


def error_in_stream(exchange: Exchange) -> None:
    """The runner dies: status 200, then a line without message and done."""
    exchange.part('{"sco')
    exchange.line({"error": "an error was encountered while running the model: unexpected EOF"})
    exchange.end()


def no_done(exchange: Exchange) -> None:
    """The runner gives up on a repeating model: the last line is missing."""
    exchange.part('{"score": 85}')
    exchange.end()


def cut_in_line(exchange: Exchange) -> None:
    exchange.part('{"score"')
    exchange.chunk(b'{"model":"llama3","mess')
    exchange.cut()


def cut_before_answer(exchange: Exchange) -> None:
    exchange.cut()


def garbage(exchange: Exchange) -> None:
    exchange.chunk(b"<html>a proxy's page</html>\n")
    exchange.end()


def silent(exchange: Exchange) -> None:
    """Say nothing at all."""
    exchange.wait()
    exchange.cut()


def drip(exchange: Exchange) -> None:
    """A byte now and then, all in one chunk: every read is answered in time, and the line never ends."""
    exchange.chunk(b" ")
    exchange.handler.wfile.write(b"ffff\r\n")
    while not exchange.wait(0.02):
        exchange.handler.wfile.write(b" ")


def drip_headers(exchange: Exchange) -> None:
    exchange.handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not exchange.wait(0.02):
        exchange.handler.wfile.write(b"y")


def talk(exchange: Exchange) -> None:
    """Good lines without end, as a model without num_predict gives them."""
    while not exchange.wait(0.01):
        exchange.part("and ")


def flood(exchange: Exchange) -> None:
    """Good lines without end, as fast as they are read."""
    while not exchange.stopped.is_set():
        exchange.part("and " * 4096)


def hashed(exchange: Exchange) -> None:
    """A score from 0 to 100 that depends on the prompt alone."""
    score(int(hashlib.sha256(prompt(exchange.body).encode()).hexdigest(), 16) % 101)(exchange)


def parts(body: dict[str, Any]) -> tuple[str, str] | None:
    """The reference and the answer in a prompt of the rubric graded-v1; None in any other."""
    found = re.search(
        r"(\[[0-9a-f]{16}\]) reference answer\n(.*)\n\1 answer to grade\n(.*)\n\1 end", prompt(body), re.S
    )
    return (found[2], found[3]) if found else None


def pair(body: dict[str, Any]) -> tuple[str, str, str] | None:
    """The reference and the two answers, in order, in a prompt of the rubric pairwise-v1; None in any other."""
    form = r"(\[[0-9a-f]{16}\]) reference answer\n(.*)\n\1 first answer\n(.*)\n\1 second answer\n(.*)\n\1 end"
    found = re.search(form, prompt(body), re.S)
    return (found[2], found[3], found[4]) if found else None


def better(value: Any) -> Behaviour:
    """Answer as the real server does to a request to compare."""
    return text(f'{{\n  "better": {json.dumps(value)}\n}}')


def is_right(reference: str, answer: str) -> bool:
    """Whether an answer is its reference, or to one of the self-test's probes the same in other words."""
    return answer == reference or answer in PARAPHRASES.get(reference, ())


def careful(exchange: Exchange) -> None:
    """A judge that reads: 90 and more for what is right, 40 and less for all else, the rest by a hash."""
    found = parts(exchange.body)
    if found is None:
        return hashed(exchange)
    digest = int(hashlib.sha256(prompt(exchange.body).encode()).hexdigest(), 16)
    return score(90 + digest % 11 if is_right(*found) else digest % 41)(exchange)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        fake = self.server.fake
        self.path = urlsplit(self.path).path  # a proxy is asked for the whole URL
        fake.paths.append(self.path)
        if not self.allowed():
            return
        fake.stopped.wait(fake.look_seconds)
        if self.path == "/":
            self.answer(200, "Ollama is running")
        elif self.path == "/api/version":
            self.answer(200, {"version": VERSION})
        elif self.path == "/api/tags":
            self.answer(200, {"models": [fake.model_entry()]})
        elif self.path == "/api/ps":
            running = {"size_vram": 5_000_000_000, "context_length": fake.running_context}
            self.answer(200, {"models": [fake.model_entry() | running] if fake.loaded else []})
        else:
            self.answer(404, "404 page not found")

    def do_POST(self) -> None:
        fake = self.server.fake
        self.path = urlsplit(self.path).path
        fake.paths.append(self.path)
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.allowed():
            return None
        try:
            body = json.loads(raw)
        except ValueError:
            return self.answer(400, {"error": "unexpected EOF"})
        if not body.get("model"):
            return self.answer(400, {"error": "model is required"})
        known = body["model"] in (fake.model, f"{fake.model}:latest")
        if self.path == "/api/show":
            missing = {"error": f"model '{body['model']}:latest' not found"}
            return self.answer(200, fake.shown()) if known else self.answer(404, missing)
        if self.path != "/api/chat":
            return self.answer(404, "404 page not found")
        if not known:
            return self.answer(404, {"error": f"model '{body['model']}' not found"})
        exchange = Exchange(body, self, fake.stopped)
        if not body.get("messages"):
            fake.loads.append(body)
            fake.stopped.wait(fake.load_seconds)
            return self.answer(200, fake.load_answer or exchange.frame("", done=True, done_reason="load"))
        if exchange.prompt_tokens > exchange.context and body.get("truncate") is False:
            if fake.long_faults:
                return fake.long_faults.pop(0)(exchange)
            if fake.refuses:
                return too_long()(exchange)
        if body.get("options", {}).get("num_predict") == 1 and fake.obeys:
            return text("{", "length", eval_count=1)(exchange)
        try:
            return fake.next_behaviour(body)(exchange)
        except OSError:  # the client has gone, as it should from some of the faults
            self.close_connection = True

    def allowed(self) -> bool:
        """Whether the request has the key that the server wants; if not, it is answered as ollama.com answers."""
        if self.server.fake.key in (None, (self.headers["Authorization"] or "").removeprefix("Bearer ")):
            return True
        self.answer(401, {"error": "unauthorized"})
        return False

    def answer(self, status: int, value: Any) -> None:
        plain = isinstance(value, str)
        data = value.encode() if plain else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if plain else "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a test's output is its own."""


class _Server(QuietServer):
    block_on_close = True
    request_queue_size = 64
    fake: FakeOllama

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.fake.connections.append(connection)
        return connection, address


class FakeOllama:
    """The server; ``chats`` and ``loads`` are the bodies of the requests that it got, ``paths`` all paths."""

    def __init__(
        self,
        behaviours: Sequence[Behaviour] | Callable[[dict[str, Any]], Behaviour] = (careful,),
        *,
        model: str = "llama3",
        port: int = 0,
    ) -> None:
        self.model = model
        self.digest = DIGEST
        self.context_length = 8192
        self.running_context = 8192
        self.load_seconds = 0.0
        #: Seconds that it takes to say which models it has.
        self.look_seconds = 0.0
        #: Bytes of the model, and whether it is in memory.
        self.size = 1
        self.loaded = True
        self.load_answer: Any = None
        #: Whether it ends replies at num_predict, and refuses long prompts where truncate is false, as new servers do.
        self.obeys = self.refuses = True
        #: What the first prompts that are too long get instead.
        self.long_faults: list[Behaviour] = []
        self.capabilities = ["completion"]
        #: The values of ``think`` that /api/show names, as new servers do.
        self.think_values: list[Any] | None = None
        #: The key that it wants as a bearer token, as ollama.com or a proxy does.
        self.key: str | None = None
        self.chats: list[dict[str, Any]] = []
        self.loads: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.connections: list[socket.socket] = []
        self.stopped = threading.Event()
        self._behaviours = behaviours
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), Handler)
        self._server.fake = self
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.address}"

    def next_behaviour(self, body: dict[str, Any]) -> Behaviour:
        with self._lock:
            self.chats.append(body)
            if callable(self._behaviours):
                return self._behaviours(body)
            return self._behaviours[min(len(self.chats), len(self._behaviours)) - 1]

    def model_entry(self) -> dict[str, Any]:
        details = {"format": "gguf", "family": "llama", "parameter_size": "8.0B", "quantization_level": "Q4_0"}
        name = f"{self.model}:latest"
        return {
            "name": name,
            "model": name,
            "modified_at": CREATED,
            "size": self.size,
            "digest": self.digest,
            "details": details,
        }

    def shown(self) -> dict[str, Any]:
        info = {"general.architecture": "llama", "llama.context_length": self.context_length}
        return {
            "template": "{{ .Prompt }}",
            "details": self.model_entry()["details"],
            "model_info": info,
            "capabilities": self.capabilities,
            **({} if self.think_values is None else {"thinking": {"values": self.think_values}}),
        }

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.02)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop listening and drop every connection: from now on they are refused."""
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):  # already closed
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="A stand-in for Ollama, with a judge that knows the reference when it sees it."
    )
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--model", default="llama3")
    options = parser.parse_args()
    server = FakeOllama(model=options.model, port=options.port)
    print(server.url, flush=True)
    server.serve()


if __name__ == "__main__":
    main()
