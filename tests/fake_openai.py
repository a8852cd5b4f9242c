"""A server on loopback that speaks OpenAI's chat protocol, with faults on demand.

A behaviour takes a request's body and gives (status, value); bytes as the value are sent as they are. Each request
takes the next behaviour of the list, and the last again and again.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self

from stages.judge.judges.protocol import TRIAL
from tests.quiet_server import QuietServer

Behaviour = Callable[[dict[str, Any]], tuple[int, Any]]


def text(content: str | None, reason: str = "stop", **more: Any) -> Behaviour:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": reason, **more}
    usage = {"prompt_tokens": 200, "completion_tokens": 1 if reason == "length" else 8}
    about = {"id": "1", "system_fingerprint": "b6800", "choices": [choice], "usage": usage}
    return lambda body: (200, about | {"model": f"{body['model']}-2026"})


def score(value: Any) -> Behaviour:
    return text(json.dumps({"score": value}))


def error(status: int, message: str) -> Behaviour:
    return lambda body: (status, {"error": {"message": message, "type": "x", "code": None}})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self.server.fake.headers.append(dict(self.headers))
        self.answer(*self.server.fake.models())

    def do_POST(self) -> None:
        fake = self.server.fake
        fake.headers.append(dict(self.headers))
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        limit = body.get("max_tokens", body.get("max_completion_tokens"))
        if TRIAL.instruction in body["messages"][-1]["content"]:
            fake.trials.append(body)
            return self.answer(*(text("{", "length") if limit == 1 and fake.obeys else fake.trial)(body))
        with fake.lock:
            fake.bodies.append(body)
            behaviour = fake.behaviours[min(len(fake.bodies), len(fake.behaviours)) - 1]
        return self.answer(*behaviour(body))

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client has gone, as a judge that is closed does
            super().handle()

    def answer(self, status: int, value: Any) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        if self.server.fake.retry_after and status in (429, 503):
            self.send_header("Retry-After", self.server.fake.retry_after)
        if 300 <= status < 400:
            self.send_header("Location", self.server.fake.location)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class _Server(QuietServer):
    block_on_close = False
    fake: FakeOpenAI


class FakeOpenAI:
    """The server; ``bodies`` are the chat requests that it got, ``headers`` those of all requests.

    The question with which a judge is opened is answered by ``trial`` and kept in ``trials``.
    """

    def __init__(self, behaviours: Sequence[Behaviour], key: str | None = None) -> None:
        self.behaviours = behaviours
        self.entry = {"id": "judge-8b", "object": "model", "created": 1, "owned_by": "vllm", "root": "/models/a"}
        self.refused = key
        self.retry_after = ""
        self.location = ""
        self.trial: Behaviour = score(100)
        self.trials: list[dict[str, Any]] = []
        self.obeys = True
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.fake = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def models(self) -> tuple[int, Any]:
        if self.refused:
            return 401, {"error": {"message": f"Incorrect API key provided: {self.refused}."}}
        self.entry = self.entry | {"created": self.entry["created"] + 1}  # as vLLM, which says the time of the call
        return 200, {"object": "list", "data": [self.entry]}

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
