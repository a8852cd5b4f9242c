"""What a real Ollama answered, replayed on loopback: the client meets a server that nobody here wrote."""

import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler

import pytest

from stages.common.errors import ConfigError
from stages.judge.judges.ollama import open_ollama_judge
from stages.judge.judges.protocol import Question
from tests.judge.judging import settings
from tests.quiet_server import QuietServer
from tests.root import ROOT

RECORDED = json.loads((ROOT / "tests" / "fixtures" / "ollama_0_32_15.json").read_text())
QUESTION = Question("row-1", "tuned", "Name the capital.", "France", "Paris.", "The capital of France is Paris.")
LOOK_UPS = {"/api/version": "version", "/api/tags": "tags", "/api/ps": "ps", "/api/show": "show"}


class Replay(BaseHTTPRequestHandler):
    """Look-ups and loading as recorded; a verdict is the server's ``verdict``, by its name in the recording."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.replay(LOOK_UPS[self.path])

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/show":
            return self.replay("show")
        if not body["messages"]:
            return self.replay("loaded")
        if "7 3 7 3" in body["messages"][-1]["content"]:
            return self.replay(self.server.long_prompt)
        return self.replay(self.server.verdict)

    def replay(self, name):
        found = RECORDED[name]
        self.send_response(found["status"])
        self.send_header("Content-Type", found["content_type"])
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in found["lines"]:
            data = line.encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format, *args):
        """Nothing."""


@pytest.fixture
def judged(monkeypatch):
    """The judge that a replaying server makes of us, and its judgement."""
    with contextlib.ExitStack() as stack:

        def judge_(verdict, long_prompt="too long, with truncate false", **changes):
            server = stack.enter_context(QuietServer(("127.0.0.1", 0), Replay))
            server.verdict, server.long_prompt = verdict, long_prompt
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            stack.callback(server.shutdown)
            monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{server.server_address[1]}")
            chosen = settings(**({"model": "smollm2:135m", "retries": 1} | changes))
            judge = stack.enter_context(contextlib.closing(open_ollama_judge(chosen, first_wait=0.001)))
            return judge, judge.judge(QUESTION)

        yield judge_


def test_what_the_real_server_says_of_its_model_is_the_identity(judged):
    judge, judgement = judged("schema")
    template = (
        "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
    )
    found = judge.identity()
    assert found["digest"] == "941f309b54caaad6747569ba43712bcde44a2be3bae16c3282ff499c37c54af5"  # of the second model
    assert (found["quantization"], found["server_version"], found["context_length"]) == ("Q4_1", "0.32.15", "8192")
    assert found["template_sha256"] == hashlib.sha256(template.encode()).hexdigest()
    assert (judgement.status, judgement.score) == ("scored", 0.0)
    costs = judge.costs()
    assert (costs.prompt_tokens, costs.reply_tokens, costs.reply_seconds) == (21, 10, 0.474565)
    assert (costs.size_vram, costs.context_length) == (0, 2048)


@pytest.mark.parametrize(
    ("verdict", "status", "detail"),
    [
        ("stream", "invalid", "not JSON; found 'The capital'"),
        ("cut at num_predict", "invalid", "the verdict did not end by itself (done_reason 'length'); found '{ \"score"),
        ("runner killed", "failed", "error in mid stream: an error was encountered while running the model: unexpec"),
        ("too long, with truncate false", "invalid", "the judge refused the request: HTTP 400: {"),
        ("bad JSON", "failed", "the judge refused the request: HTTP 400: unexpected EOF"),
        ("no model", "failed", "the judge refused the request: HTTP 400: model is required"),
    ],
)
def test_what_the_real_server_says_that_is_no_score(judged, verdict, status, detail):
    _, judgement = judged(verdict)
    assert (judgement.status, judgement.score) == (status, None)
    assert judgement.detail.startswith(detail)


def test_a_prompt_that_the_real_server_cuts_in_silence_gives_no_score(judged):
    _, judgement = judged("silently truncated", long_prompt="silently truncated", num_ctx=256)
    assert judgement.detail.startswith("the server read 130 tokens of a prompt of ")


def test_a_model_that_goes_away_is_said_in_the_real_server_s_words(judged):
    with pytest.raises(ConfigError) as caught:
        judged("no such model")
    assert caught.value.fix == "ollama pull smollm2:135m"
