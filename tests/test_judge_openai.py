"""The judge behind a server of OpenAI's protocol, over real HTTP on loopback."""

import json
import math

import pytest

from stages import judge as stage
from stages.common import paths
from stages.common.errors import ConfigError, ServiceUnavailable
from stages.judging.judge import JudgeChanged, open_judge
from stages.judging.openai import open_openai_judge
from stages.judging.rubric import load_rubric
from tests.fake_openai import FakeOpenAI, error, score, text
from tests.test_judge_stage import configure, folder  # noqa: F401 a fixture
from tests.test_judging_ollama import QUESTION, settings

KEY = "sk-very-secret"


@pytest.fixture
def opened(monkeypatch):
    judges = []

    def open_(server, **changes):
        monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/")
        chosen = settings(**({"backend": "openai", "model": "judge-8b"} | changes))
        judges.append(open_openai_judge(chosen, first_wait=0.01))
        return judges[-1]

    yield open_
    for judge in judges:
        judge.close()


def test_the_request_is_exactly_this_and_the_key_is_in_its_header_alone(opened, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeOpenAI([score(85)]) as server:
        judge = opened(server)
        assert judge.judge(QUESTION, 1).score == 85
    rubric = load_rubric("graded-v1")
    assert server.bodies == [
        {
            "model": "judge-8b",
            "messages": rubric.messages(QUESTION),
            "temperature": 0,
            "seed": 124,
            "max_tokens": 64,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "verdict", "strict": True, "schema": rubric.schema()},
            },
        }
    ]
    assert [headers["Authorization"] for headers in server.headers] == [f"Bearer {KEY}"] * 2
    assert KEY not in json.dumps([judge.identity(), judge.key(QUESTION)])


def test_without_a_key_no_netrc_stands_in_for_it(opened, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with FakeOpenAI([score(85)]) as server:
        opened(server).judge(QUESTION)
    assert not any("Authorization" in headers for headers in server.headers)


def test_a_key_that_is_refused_is_not_repeated(opened, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeOpenAI([], key=KEY) as server, pytest.raises(ConfigError) as caught:
        opened(server)
    assert caught.value.what.endswith("refuses the key in OPENAI_API_KEY: HTTP 401: Incorrect API key provided: ***.")
    assert KEY not in repr(caught.value)


@pytest.mark.parametrize(
    ("behaviour", "status", "detail"),
    [
        (error(429, "slow down"), "failed", "HTTP 429: slow down"),
        (error(500, "no memory"), "failed", "HTTP 500: no memory"),
        (lambda body: (200, b"<html>"), "failed", "not JSON: '<html>'"),
        (lambda body: (200, {"choices": []}), "failed", "not an answer of OpenAI's protocol: {'choices': []}"),
        (lambda body: (200, [1]), "failed", "not an answer of OpenAI's protocol: [1]"),
        (error(400, "too many tokens"), "invalid", "the judge refused the request: HTTP 400: too many tokens"),
        (text(None), "invalid", "not JSON; found ''"),
        (text("85"), "invalid", "not a JSON object with score as its only key; found '85'"),
        (score(101), "invalid", "the score is not from 0 to 100; found '{\"score\": 101}'"),
        (text("{", "length"), "invalid", "the verdict did not end by itself (done_reason 'length'); found '{'"),
    ],
)  # fmt: skip
def test_what_brings_no_score(opened, behaviour, status, detail):
    with FakeOpenAI([behaviour]) as server:
        judgement = opened(server).judge(QUESTION)
    assert (judgement.status, judgement.score, judgement.detail) == (status, None, detail)
    assert len(server.bodies) == (3 if status == "failed" else 1)


def test_a_fault_that_passes_leaves_no_trace(opened):
    with FakeOpenAI([error(429, "slow down"), error(503, "busy"), score(85)]) as server:
        assert opened(server).judge(QUESTION).score == 85


def test_the_expected_value(opened):
    top = [{"token": "3", "logprob": math.log(0.5)}, {"token": "5", "logprob": math.log(0.5)}]
    tokens = [{"token": '{"score":', "logprob": 0.0}, {"token": " 3", "logprob": -0.7, "top_logprobs": top}]
    with FakeOpenAI([text('{"score": 3}', logprobs={"content": tokens})]) as server:
        assert opened(server, rubric="levels-v1", expected_value=True).judge(QUESTION).score == 80.0  # 4 of 5


def test_what_the_server_says_of_the_model_is_part_of_the_identity(opened):
    with FakeOpenAI([score(85)]) as server:
        judge = opened(server)
        judge.check()  # another time of the call is no other model
        assert judge.identity() == opened(server).identity()
        server.entry |= {"root": "/models/b"}
        with pytest.raises(JudgeChanged, match="the server says other things of judge-8b now"):
            judge.check()
        assert judge.identity() != opened(server).identity()


def test_a_model_that_is_not_there_and_a_server_that_is_not(opened, monkeypatch):
    with FakeOpenAI([]) as server, pytest.raises(ConfigError, match="has no model 'llama3'; it has judge-8b"):
        opened(server, model="llama3")
    with pytest.raises(ServiceUnavailable, match="no connection: Connection refused"):
        opened(server)


@pytest.mark.parametrize(
    "url", ["box:8000", "ftp://box/v1", "http://me:secret@box/v1", "http://box:port/v1", "http://"]
)
def test_what_is_no_address_is_said_and_not_shown(monkeypatch, url):
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL: expected http") as caught:
        open_judge(settings(backend="openai"))
    assert "secret" not in str(caught.value)


def test_from_end_to_end_and_the_key_is_in_no_file(folder, monkeypatch):  # noqa: F811
    def careful(body):
        said = body["messages"][1]["content"]
        reference, answer = (
            said.partition(f" {name}\n")[2].split("\n[")[0] for name in ("reference answer", "answer to grade")
        )
        return score(95 if reference == answer else 10)(body)

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    configure(backend="openai", model="judge-8b")
    with FakeOpenAI([careful]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        stage.main()
    found = json.loads(paths.JUDGE_METRICS.read_text())
    assert (found["judge"]["backend"], found["tuned"]["mean"]) == ("openai", 66.667)
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert len(written) >= 8
    assert not any(KEY.encode() in path.read_bytes() for path in written)
