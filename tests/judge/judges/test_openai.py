"""The judge behind a server of OpenAI's protocol, over real HTTP on loopback."""

import dataclasses
import json
import math
import time

import pytest

from stages.common.errors import ConfigError, ServiceUnavailable
from stages.common.results.judge import JUDGE_METRICS
from stages.judge.__main__ import main
from stages.judge.cache import VerdictCache
from stages.judge.judges.chat_judge import scoring_rubric
from stages.judge.judges.openai import OpenAIJudge, open_openai_judge
from stages.judge.judges.opening import open_judge
from stages.judge.judges.protocol import JudgeChanged
from stages.judge.judges.rubric import load_rubric
from stages.judge.judges.transport import Client
from tests.fake_ollama import is_right
from tests.fake_openai import FakeOpenAI, error, score, text
from tests.judge.judging import QUESTION, judge_all, settings
from tests.judge.test_stage import configure, folder  # noqa: F401 a fixture

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
    assert [headers["Authorization"] for headers in server.headers] == [f"Bearer {KEY}"] * 3
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


@pytest.mark.parametrize("key", ["sk-very-secret\nX-Other: 1", "sk-vèry-secret", "sk very secret"])
def test_a_key_that_no_header_can_hold_is_said_and_not_shown(monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY: expected letters, digits and signs of ASCII") as caught:
        open_openai_judge(settings(backend="openai"))
    assert "secret" not in repr(caught.value)
    assert "secret" not in str(caught.value.fix)


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/v1", "http://judge.example:8000", "HTTP://box/v1", "http://0.0.0.0/v1"]
)
def test_a_key_does_not_go_unencrypted_to_another_machine(monkeypatch, url):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL: the key in OPENAI_API_KEY would go unencrypted") as caught:
        open_openai_judge(settings(backend="openai"))
    assert "export PIPELINE_KEY_OVER_HTTP=1" in caught.value.fix
    assert "secret" not in repr(caught.value)


@pytest.mark.parametrize(("key", "allowed"), [(KEY, "1"), (None, "")])
def test_without_a_key_or_where_it_is_allowed_http_is_spoken_with_another_machine(monkeypatch, key, allowed):
    """The other machine is reached by a proxy, which is the fake itself."""
    for name in ("NO_PROXY", "no_proxy", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    if key:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("PIPELINE_KEY_OVER_HTTP", allowed)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://judge.invalid/v1")
    with FakeOpenAI([score(85)]) as server:
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, server.url.removesuffix("/v1"))
        judge = open_openai_judge(settings(backend="openai", model="judge-8b"))
        assert judge.judge(QUESTION).score == 85
        judge.close()
    assert {headers.get("Authorization") for headers in server.headers} == {f"Bearer {KEY}" if key else None}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(opened, monkeypatch, status):
    """Neither the key nor a row of the data gets to where it leads."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeOpenAI([score(85)]) as elsewhere, FakeOpenAI([error(status, "moved")]) as server:
        server.location = f"{elsewhere.url}/chat/completions"
        judge = opened(server)
        with pytest.raises(ServiceUnavailable, match=f"HTTP {status}: a redirect, which is not followed"):
            judge.judge(QUESTION)
        server.trial = error(status, "moved")
        with pytest.raises(ServiceUnavailable, match=f"HTTP {status}: a redirect, which is not followed"):
            opened(server)
    assert elsewhere.headers == []


@pytest.mark.parametrize(
    ("behaviour", "status", "detail"),
    [
        (error(429, "slow down"), "failed", "HTTP 429: slow down"),
        (error(500, "no memory"), "failed", "HTTP 500: no memory"),
        (lambda body: (200, b"<html>"), "failed", "not JSON: '<html>'"),
        (lambda body: (200, {"choices": []}), "failed", "not an answer of OpenAI's protocol: {'choices': []}"),
        (lambda body: (200, [1]), "failed", "not an answer of OpenAI's protocol: [1]"),
        (error(400, "too many tokens"), "invalid", "the judge refused the request: HTTP 400: too many tokens"),
        (error(400, "try later"), "refused", "the judge refused the request: HTTP 400: try later"),
        (error(413, "<html>"), "refused", "the judge refused the request: HTTP 413: <html>"),
        (error(422, "no slot"), "refused", "the judge refused the request: HTTP 422: no slot"),
        (text(None), "invalid", "not JSON; found ''"),
        (text("85"), "invalid", "not a JSON object with score as its only key; found '85'"),
        (score(101), "invalid", "the score is not from 0 to 100; found '{\"score\": 101}'"),
        (text("{", "length"), "invalid", "the verdict did not end by itself (finish_reason 'length'); found '{'"),
    ],
)  # fmt: skip
def test_what_brings_no_score(opened, behaviour, status, detail):
    with FakeOpenAI([behaviour]) as server:
        judgement = opened(server).judge(QUESTION)
    refused = status == "refused"  # which is not repeated at once
    assert (judgement.status, judgement.score, judgement.detail) == ("failed" if refused else status, None, detail)
    assert len(server.bodies) == (3 if status == "failed" else 1)


def test_a_prompt_that_a_server_had_no_room_for_is_asked_again(opened, tmp_path):
    """The server sets the context, and has a longer one when it is started again."""
    said = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"
    for behaviour, status in ((error(400, said), "invalid"), (score(85), "scored")):
        with FakeOpenAI([behaviour]) as server, VerdictCache(tmp_path / "a.jsonl") as cache:
            assert [verdict.status for verdict in judge_all(opened(server), [QUESTION], cache=cache)] == [status]


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
        with pytest.raises(JudgeChanged, match=r"the judge changed while it judged: served_sha256 .* is now"):
            judge.check()
        assert judge.identity() != opened(server).identity()


@pytest.mark.parametrize("wrong", [5, "x", [5], {"a": 1}], ids=repr)
def test_probabilities_of_the_wrong_type_bring_no_score(opened, wrong):
    with FakeOpenAI(
        [text('{"score": 3}', logprobs={"content": wrong}), text('{"score": 3}', logprobs=wrong)]
    ) as server:
        judge = opened(server, rubric="levels-v1", expected_value=True, retries=0)
        assert {judge.judge(QUESTION).status for _ in range(2)} <= {"failed", "invalid"}


@pytest.mark.parametrize(("field", "value"), [("model", "judge-8b-2027"), ("system_fingerprint", "b6801")])
def test_another_model_that_replies_ends_the_judging(opened, tmp_path, field, value):
    def other(body):
        status, said = score(10)(body)
        return status, said | {field: value}

    rows = [dataclasses.replace(QUESTION, id=f"row-{n}", answer=f"{n}") for n in range(4)]
    with FakeOpenAI([score(85), score(85), other]) as server, VerdictCache(tmp_path / "a.jsonl") as cache:
        judge = opened(server)
        name = {"model": "replying_model"}.get(field, field)
        with pytest.raises(JudgeChanged, match=f"{name} .* is now {value}"):
            judge_all(judge, rows, cache=cache)
        assert len(cache) == 0
    assert (judge.identity()["replying_model"], judge.identity()["system_fingerprint"]) == ("judge-8b-2026", "b6800")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://api.openai.com/v1", {"replying_model": "m"}),
        ("https://mine.openai.azure.com/openai/v1", {"replying_model": "m"}),
        ("http://127.0.0.1:8000/v1", {"replying_model": "m", "system_fingerprint": "fp"}),
        ("https://notopenai.com/v1", {"replying_model": "m", "system_fingerprint": "fp"}),
    ],
)
def test_a_service_of_several_configurations_is_known_by_its_model_alone(url, told):
    params = settings(backend="openai", model="m")
    judge = OpenAIJudge(params, scoring_rubric(params), Client(url, connections=1), "served")

    assert judge._said_by({"model": "m", "system_fingerprint": "fp"}) == told
    judge.close()


def test_a_newer_model_s_name_of_the_limit_is_used_where_it_asks_for_it(opened):
    asks = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."

    def newer(body):
        return error(400, asks)(body) if "max_tokens" in body else score(85)(body)

    with FakeOpenAI([newer]) as server:
        server.trial = newer
        judge = opened(server)
        assert judge.judge(QUESTION).score == 85
        assert judge.ignored() is None
    assert server.bodies[0]["max_completion_tokens"] == 64
    assert "max_tokens" not in server.bodies[0]
    assert '"max_completion_tokens": 64' in judge.identity()["options"]


def test_a_request_that_the_server_does_not_take_is_said_before_anything_is_judged(opened):
    with FakeOpenAI([score(85)]) as server:
        server.trial = error(400, "temperature: only the default is supported")
        with pytest.raises(ConfigError, match="refuses the judge's request: HTTP 400: temperature: only the default"):
            opened(server)
    assert server.bodies == []


def test_a_server_that_asks_for_patience_is_given_it(opened):
    with FakeOpenAI([error(429, "slow down"), score(85)]) as server:
        server.retry_after = "1"
        begin = time.monotonic()
        assert opened(server).judge(QUESTION).score == 85
    assert time.monotonic() - begin >= 1


def test_tokens_are_counted(opened):
    with FakeOpenAI([score(85)]) as server:
        judge = opened(server)
        judge.judge(QUESTION)
        judge.judge(QUESTION)
    costs = judge.costs().model_dump(exclude_unset=True)
    assert costs.pop("seconds") > 0
    assert costs == {"replies": 2, "prompt_tokens": 400, "reply_tokens": 16}


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


@pytest.mark.thorough
def test_from_end_to_end_and_the_key_is_in_no_file(folder, monkeypatch):  # noqa: F811
    def careful(body):
        said = body["messages"][1]["content"]
        reference, answer = (
            said.partition(f" {name}\n")[2].split("\n[")[0] for name in ("reference answer", "answer to grade")
        )
        return score(95 if is_right(reference, answer) else 10)(body)

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    configure(backend="openai", model="judge-8b")
    with FakeOpenAI([careful]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        main()
    found = json.loads(JUDGE_METRICS.read_text())
    assert (found["judge"]["backend"], found["tuned"]["mean"]) == ("openai", 66.667)
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert len(written) >= 8
    assert not any(KEY.encode() in path.read_bytes() for path in written)
