"""The Ollama judge against a real server on loopback: for every fault no wrong score, no lost item, no hang."""

import dataclasses
import hashlib
import json
import math
import os
import subprocess
import sys
import threading

import pytest
import requests

from stages.common.errors import ConfigError, ServiceUnavailable
from stages.judge.cache import VerdictCache
from stages.judge.judges import remedies
from stages.judge.judges.chat_judge import READING_VERSION
from stages.judge.judges.ollama import open_ollama_judge, prompt_problem
from stages.judge.judges.opening import open_judge
from stages.judge.judges.protocol import JudgeChanged, Question
from stages.judge.judges.rubric import load_rubric
from stages.judge.judges.transport import excerpt
from tests import fake_ollama as fake
from tests.fake_ollama import FakeOllama, score, server_error, text
from tests.judge.judging import QUESTION, judge_all, settings


@pytest.fixture
def noted(request, record_property):
    """Note what became of a fault, for the table at the end of `pytest -v`; the fault is the test's parameter."""

    def note(outcome, fault=None):
        record_property("fault", fault or request.node.callspec.id)
        record_property("outcome", outcome)

    return note


def test_the_request_is_exactly_this(opened):
    with FakeOllama([score(85)]) as server:
        assert opened(server).judge(QUESTION).score == 85
    system, user = load_rubric("graded-v1").messages(QUESTION)
    options = {"temperature": 0, "seed": 123, "num_ctx": 2048, "num_predict": 64}
    looks, chats = ["/api/version", "/api/tags", "/api/show"], ["/api/chat"] * 2
    assert server.paths == [*looks, "/api/chat", "/api/ps", *chats]  # loads; asks whether it refuses long prompts
    assert server.loads == [
        {"model": "llama3", "messages": [], "stream": False, "options": options, "keep_alive": "30m"}
    ]
    assert server.chats == [
        {
            "model": "llama3",
            "messages": [system, user],
            "stream": True,
            "format": {
                "type": "object",
                "properties": {"score": {"type": "integer", "minimum": 0, "maximum": 100}},
                "required": ["score"],
                "additionalProperties": False,
            },
            "options": options,
            "truncate": False,
            "keep_alive": "30m",
        }
    ]
    assert "Name the author." in user["content"]
    assert "Jane Austin." in user["content"]


def test_the_identity_tells_judges_apart(opened):
    with FakeOllama() as server:
        assert opened(server).identity() == {
            "backend": "ollama",
            "reading_version": READING_VERSION,
            "model": "llama3",
            "digest": fake.DIGEST,
            "quantization": "Q4_0",
            "server_version": "0.32.15",
            "template_sha256": hashlib.sha256(b"{{ .Prompt }}").hexdigest(),
            "context_length": "8192",
            "rubric": "graded-v1",
            "rubric_sha256": load_rubric("graded-v1").sha256,
            "options": '{"num_ctx": 2048, "num_predict": 64, "seed": 123, "temperature": 0.0}',
            "think": "null",
            "score": "as said",
            "long_prompts": "refused",
        }


def test_a_score_has_the_judges_words_as_detail(opened):
    with FakeOllama([score(0)]) as server:
        judgement = opened(server).judge(QUESTION)
    assert (judgement.status, judgement.score, judgement.detail) == ("scored", 0.0, '{ "score": 0 }')


PASSING = {
    "503": server_error(503),
    "500": server_error(500, "llama runner process has terminated"),
    "502": server_error(502, "bad gateway"),
    "error in mid stream": fake.error_in_stream,
    "no done": fake.no_done,
    "cut in mid line": fake.cut_in_line,
    "cut before the answer": fake.cut_before_answer,
    "garbage": fake.garbage,
}


NAMES = {behaviour: name for name, behaviour in PASSING.items()}


@pytest.mark.parametrize("behaviour", PASSING.values(), ids=PASSING.keys())
def test_a_fault_that_passes_leaves_no_trace(opened, noted, behaviour):
    with FakeOllama([behaviour, behaviour, score(85)]) as server:
        judgement = opened(server).judge(QUESTION)
    assert (judgement.status, judgement.score, judgement.detail) == ("scored", 85.0, '{ "score": 85 }')
    assert len(server.chats) == 3
    noted(f"scored {judgement.score:g} at the third attempt", fault=f"{NAMES[behaviour]}, twice")


def test_a_stream_that_has_begun_and_stalls_is_asked_for_again_on_a_new_connection(opened):
    def stalls(exchange):
        exchange.part('{"sco')
        exchange.wait()

    with FakeOllama([stalls, score(85)]) as server:
        assert opened(server, stall=1.0).judge(QUESTION).score == 85


@pytest.mark.thorough
def test_before_it_begins_an_answer_has_the_whole_deadline(opened):
    """Reading a long prompt, or waiting for another's verdict, is silent."""

    def late(exchange):
        exchange.wait(2.5)
        score(85)(exchange)

    with FakeOllama([late]) as server:
        judge = opened(server, stall=2.0, retries=0)
        assert judge.judge(QUESTION).score == 85


LASTING = {
    "503": (server_error(503), "HTTP 503: server busy, please try again. maximum pending requests exceeded"),
    "500": (server_error(500, "no memory"), "HTTP 500: no memory"),
    "error in mid stream": (
        fake.error_in_stream,
        "error in mid stream: an error was encountered while running the model: unexpected EOF",
    ),
    "no done": (fake.no_done, "the stream ended without done, after '{\"score\": 85}'"),
    "cut in mid line": (fake.cut_in_line, "the connection broke off"),
    "cut before the answer": (fake.cut_before_answer, "the connection broke off"),
    "garbage": (fake.garbage, 'not JSON: "<html>a proxy\'s page</html>"'),
}


@pytest.mark.parametrize(("behaviour", "detail"), LASTING.values(), ids=LASTING.keys())
def test_a_fault_that_lasts_fails_this_answer_after_all_attempts(opened, noted, behaviour, detail):
    with FakeOllama([behaviour]) as server:
        judgement = opened(server).judge(QUESTION)
    assert (judgement.status, judgement.score, judgement.detail) == ("failed", None, detail)
    assert len(server.chats) == 3
    noted(f"failed: {detail}")


LATE = "no complete answer within 2 s; for a slower judge raise judge.deadline_seconds in params.yaml"
ENDLESS = {
    "silent": (fake.silent, LATE),
    "drip": (fake.drip, LATE),
    "drip of headers": (fake.drip_headers, LATE),
    "talk": (fake.talk, LATE),
}


@pytest.mark.thorough
@pytest.mark.parametrize(("behaviour", "detail"), ENDLESS.values(), ids=ENDLESS.keys())
def test_a_call_that_does_not_end_is_ended(opened, noted, behaviour, detail):
    with FakeOllama([behaviour]) as server:
        judgement = opened(server, deadline_seconds=2.0, retries=0).judge(QUESTION)
    assert (judgement.status, judgement.score, judgement.detail) == ("failed", None, detail)
    noted(f"failed: {detail}")


@pytest.mark.thorough
def test_a_verdict_that_waits_for_a_slot_of_its_server_is_told_of_judge_parallel(opened):
    """A server that works on one at a time, for a client that asks for two."""
    slot = threading.Lock()

    def one_at_a_time(exchange):
        with slot:
            exchange.wait(1.5)
        score(85)(exchange)

    with FakeOllama([one_at_a_time]) as server:
        judge = opened(server, deadline_seconds=2.5, retries=0, parallel=2)
        asked = [dataclasses.replace(QUESTION, answer=f"{number}") for number in range(4)]
        details = {verdict.detail for verdict in judge_all(judge, asked, parallel=2) if verdict.status == "failed"}
    assert details == {
        "no complete answer within 2.5 s; for a slower judge raise judge.deadline_seconds in params.yaml; "
        "if its server works on fewer than 2 at a time, lower judge.parallel"
    }


def test_the_deadline_spans_all_attempts(opened):
    with FakeOllama([server_error(503)]) as server:
        judgement = opened(server, deadline_seconds=2.0, retries=20).judge(QUESTION)
    assert judgement.status == "failed"
    assert len(server.chats) < 20


def test_an_answer_beyond_any_size_is_not_read_to_its_end(opened):
    with FakeOllama([fake.flood]) as server:
        judgement = opened(server).judge(QUESTION)
    assert (judgement.status, judgement.detail) == ("failed", "the answer went on past 1048576 bytes")
    assert len(server.chats) == 1


WITHOUT_SCORE = {
    "85/100": (text("85/100"), "not JSON; found '85/100'"),
    "a number": (text("85"), "not a JSON object with score as its only key; found '85'"),
    "empty": (text(""), "not JSON; found ''"),
    "out of range": (score(850), "the score is not from 0 to 100; found '{ \"score\": 850 }'"),
    "negative": (score(-5), "the score is not from 0 to 100; found '{ \"score\": -5 }'"),
    "a fraction": (score(85.5), "the score is not a whole number; found '{ \"score\": 85.5 }'"),
    "a string": (score("85"), 'the score is not a whole number; found \'{ "score": "85" }\''),
    "another key": (text('{"grade": 85}'), "not a JSON object with score as its only key; found '{\"grade\": 85}'"),
    "cut off": (
        text('{"score": 8', "length"),
        "the verdict did not end by itself (done_reason 'length'); found '{\"score\": 8'",
    ),
    "only loaded": (text("", "load"), "the verdict did not end by itself (done_reason 'load'); found ''"),
    "too long": (
        fake.too_long(),
        'the judge refused the request: HTTP 400: {"error": {"code": 400, "message": '
        '"request (1010 tokens) exceeds the available context size (256 tokens)"}}',
    ),
}


@pytest.mark.parametrize(("behaviour", "detail"), WITHOUT_SCORE.values(), ids=WITHOUT_SCORE.keys())
def test_what_is_not_a_score_is_invalid_and_not_asked_again(opened, noted, behaviour, detail):
    with FakeOllama([behaviour, score(85)]) as server:
        judgement = opened(server).judge(QUESTION)
    assert (judgement.status, judgement.score, judgement.detail) == ("invalid", None, detail)
    assert len(server.chats) == 1
    noted(f"invalid: {detail}")


def test_a_verdict_longer_than_was_allowed_gives_no_score(opened):
    with FakeOllama([text('{"score": 85}', eval_count=65)]) as server:
        judgement = opened(server).judge(QUESTION)
    assert judgement.detail == "the server made 65 tokens and ignored judge.num_predict (64)"


def test_the_expected_value_is_read_from_the_stream(opened):
    def behave(exchange):
        top = [{"token": "4", "logprob": math.log(0.6)}, {"token": "5", "logprob": math.log(0.4)}]
        exchange.line(exchange.frame('{"score": ', logprobs=[{"token": '{"score": ', "logprob": 0.0}]))
        exchange.line(exchange.frame("4", logprobs=[{"token": "4", "logprob": math.log(0.6), "top_logprobs": top}]))
        exchange.part("}")
        exchange.line(exchange.final())
        exchange.end()

    with FakeOllama([behave, text('{"score": 4}')]) as server:
        judge = opened(server, rubric="levels-v1", expected_value=True)
        assert judge.judge(QUESTION).score == 88.0  # 4.4 of 5
        without = judge.judge(QUESTION)
    assert without.detail == "no token of its own for the score in the server's logprobs; found '{\"score\": 4}'"
    assert (server.chats[0]["logprobs"], server.chats[0]["top_logprobs"]) == (True, 20)
    assert judge.identity()["score"] == "expected value"


def test_a_repeat_is_asked_with_the_next_seed(opened):
    with FakeOllama([score(85)]) as server:
        judge = opened(server, temperature=0.7)
        judge.judge(QUESTION, 2)
    assert (server.chats[0]["options"]["seed"], server.chats[0]["options"]["temperature"]) == (125, 0.7)
    assert judge.key(QUESTION) != judge.key(QUESTION, 2)


def test_a_context_that_the_model_does_not_have_is_said(opened):
    with FakeOllama() as server:
        server.context_length = 1024
        with pytest.raises(ConfigError, match=r"judge.num_ctx \(2048\) is more than llama3 takes \(1024 tokens\)"):
            opened(server)


def test_the_book_s_rubric_is_asked_without_a_schema(opened):
    with FakeOllama([text("85"), text("85/100")]) as server:
        judge = opened(server, rubric="book")
        assert judge.judge(QUESTION).score == 85
        assert judge.judge(QUESTION).detail == "not a whole number alone; found '85/100'"
    assert "format" not in server.chats[0]


@pytest.mark.thorough
def test_a_model_that_loads_slowly_is_waited_for_before_the_clock_of_a_verdict_starts(opened, noted):
    with FakeOllama([score(85)]) as server:
        server.load_seconds = 3.0
        judgement = opened(server, deadline_seconds=2.5).judge(QUESTION)
    assert judgement.score == 85
    assert len(server.loads) == 1
    noted(f"{judgement.status} {judgement.score:g}, loaded within a time of its own", fault="slow load")


def test_a_prompt_that_an_old_server_may_have_cut_gives_no_score(opened, noted):
    """It ignores ``truncate``."""
    with FakeOllama([text('{"score": 85}')]) as server:
        server.refuses = False
        judgement = opened(server, num_ctx=256).judge(QUESTION)
    assert judgement.status == "invalid"
    assert judgement.detail.startswith("the server read 130 tokens of a prompt of ")
    assert "it may have cut this one; a newer Ollama refuses them (judge.num_ctx 256" in judgement.detail
    noted(f"invalid: {judgement.detail}", fault="truncated prompt")


@pytest.mark.parametrize(
    ("size", "count", "refuses", "fits"),
    [
        (1984, 1984, False, True),  # so few bytes are no more tokens
        (1985, 1023, False, True),  # a cut leaves half of 2048 and more
        (3072, 1024, False, False),  # 3 bytes a token, or 1.5 of a prompt that was cut in half
        (3072, 1024, True, True),  # it would have been refused
        (64_000, 900, False, True),  # a line of dashes: 71 bytes a token
        (8000, 1984, True, True),
        (8000, 1985, True, False),  # 1985 + 64 is one more than 2048
        (1984, None, False, True),
        (1985, None, False, False),
        (1985, None, True, True),
        (10, True, False, True),  # not a count
    ],
)
def test_prompt_check(size, count, refuses, fits):
    assert (prompt_problem(size, count, settings(), refuses=refuses) is None) == fits


@pytest.mark.parametrize("refuses", [True, False])
def test_whether_long_prompts_are_refused_is_asked_until_it_is_answered(opened, refuses):
    """One busy moment decides nothing. Each kind of server has a cache of its own, as one's verdicts are invalid."""
    with FakeOllama() as server:
        server.refuses = refuses
        server.long_faults = [server_error(503), fake.cut_before_answer]
        judge = opened(server)
    assert judge._model.refuses == refuses
    assert judge.identity()["long_prompts"] == ("refused" if refuses else "cut")
    assert server.long_faults == []


def test_an_adapter_says_in_its_own_way_that_a_prompt_is_too_long(opened):
    said = (
        "Error code: 400 - request (16414 tokens) exceeds the available context size (4096 tokens), try increasing it"
    )
    with FakeOllama() as server:
        server.refuses = False
        server.long_faults = [server_error(502, said)]
        assert opened(server)._model.refuses


def test_a_server_that_does_not_say_whether_it_refuses_long_prompts_is_not_asked(opened):
    with FakeOllama() as server:
        server.long_faults = [server_error(503, "busy")] * 3
        with pytest.raises(ServiceUnavailable, match="HTTP 503: busy"):
            opened(server)


def test_a_long_prompt_that_the_server_would_refuse_is_asked_in_full(opened):
    long = Question("row-1", "tuned", "Name the author.", "-" * 5000, "Jane Austen.", "Jane Austin.")
    with FakeOllama([score(85)]) as server:
        assert opened(server, num_ctx=4096).judge(long).score == 85
        server.refuses = False
        assert opened(server, num_ctx=2048).judge(long).status == "invalid"


def test_no_server_is_said_before_anything_is_judged(opened, noted):
    with FakeOllama() as server:
        pass
    with pytest.raises(ServiceUnavailable) as caught:
        opened(server)
    assert caught.value.what == f"no Ollama at {server.url}: no connection: Connection refused"
    assert caught.value.fix == "ollama serve, or OLLAMA_HOST=host:port where it runs elsewhere"
    noted(f"exit {caught.value.exit_code}: {caught.value.what.partition(': ')[2]}", fault="no server")


def test_a_model_that_is_not_pulled_is_said_before_anything_is_judged(opened, noted):
    with FakeOllama(model="mistral") as server, pytest.raises(ConfigError) as caught:
        opened(server)
    assert caught.value.what == f"judge.model: Ollama at {server.url} has no model 'llama3'; it has mistral:latest"
    assert caught.value.fix == "ollama pull llama3"
    assert server.chats == server.loads == []
    noted(f"exit {caught.value.exit_code}: {caught.value.fix}", fault="404, no such model")


def test_a_model_that_goes_away_ends_the_judging(opened):
    with FakeOllama() as server:
        judge = opened(server)
        server.model = "mistral"
        with pytest.raises(ConfigError) as caught:
            judge.judge(QUESTION)
    assert caught.value.fix == "ollama pull llama3"


def test_a_server_that_goes_away_ends_the_judging(opened):
    with FakeOllama() as server:
        judge = opened(server)
    with pytest.raises(ServiceUnavailable, match="no Ollama at http"):
        judge.judge(QUESTION)


def test_a_digest_that_changes_in_mid_run_is_noticed_and_no_verdict_after_it_is_kept(opened, noted, tmp_path):
    questions = [dataclasses.replace(QUESTION, id=f"row-{n}", answer=f"answer {n}") for n in range(3)]
    with FakeOllama() as server, VerdictCache(tmp_path / "cache.jsonl") as cache:
        judge = opened(server)
        judge_all(judge, questions[:1], cache=cache)
        server.digest = "f" * 64
        with pytest.raises(JudgeChanged) as caught:
            judge_all(judge, questions, cache=cache)
        kept = [cache.get(judge.key(question)) is not None for question in questions]
    assert len(server.chats) > 1  # the other has answered
    assert caught.value.what == f"the judge changed while it judged: digest {fake.DIGEST} is now {'f' * 64}"
    assert caught.value.exit_code == 69
    assert kept == [True, False, False]
    noted(
        f"exit {caught.value.exit_code}: {excerpt(caught.value.what, 50)} "
        f"{sum(kept)} verdict of before is kept, of after it {sum(kept[1:])}",
        fault="digest that changes in mid run",
    )


def test_the_model_is_said_not_to_have_been_loaded(opened):
    with FakeOllama() as server:
        server.load_answer = {"error": "llama runner process has terminated: out of memory"}
        with pytest.raises(ServiceUnavailable, match="it does not load llama3: llama runner process has terminated"):
            opened(server)
        assert len(server.loads) == 3


def test_a_model_that_has_been_loaded_with_less_context_is_said(opened):
    with FakeOllama() as server:
        server.running_context = 1024
        with pytest.raises(ConfigError, match=r"is more than llama3 has been loaded with \(1024 tokens\)"):
            opened(server)


def test_a_look_up_that_fails_once_is_repeated(opened, monkeypatch):
    answers = iter([503, 502])
    real = fake.Handler.do_GET

    def busy(handler):
        status = next(answers, None)
        return real(handler) if status is None else handler.answer(status, {"error": "busy"})

    monkeypatch.setattr(fake.Handler, "do_GET", busy)
    with FakeOllama([score(85)]) as server:
        assert opened(server).judge(QUESTION).score == 85


@pytest.mark.parametrize("wrong", [None, 5, "x", [1], {"a": 1}], ids=repr)
def test_what_ollama_says_of_a_model_may_have_any_type(opened, monkeypatch, wrong):
    shown = {"template": wrong, "model_info": wrong, "capabilities": wrong}
    monkeypatch.setattr(FakeOllama, "shown", lambda self: shown)
    entry = FakeOllama.model_entry
    monkeypatch.setattr(FakeOllama, "model_entry", lambda self: entry(self) | {"details": wrong})
    with FakeOllama([score(85)]) as server:
        judge = opened(server)
        assert judge.judge(QUESTION).score == 85
    assert all(isinstance(said, str) for said in judge.identity().values())


def test_a_model_that_can_think_is_asked_not_to(opened):
    with FakeOllama([score(85)]) as server:
        opened(server).judge(QUESTION)
        server.capabilities = ["completion", "thinking"]
        opened(server).judge(QUESTION)
    assert ["think" in body for body in server.chats] == [False, True]
    assert server.chats[1]["think"] is False


@pytest.mark.parametrize(("think", "sent"), [(None, {}), (True, {"think": True}), ("low", {"think": "low"})])
def test_a_model_that_can_think_does_as_params_yaml_says(opened, think, sent):
    with FakeOllama([score(85)]) as server:
        server.capabilities = ["completion", "thinking"]
        judge = opened(server, think=think)
        judge.judge(QUESTION)
    assert {name: value for name, value in server.chats[0].items() if name == "think"} == sent
    assert judge.identity()["think"] == {None: "null", True: "true", "low": '"low"'}[think]


@pytest.mark.parametrize(
    ("think", "thinks", "values", "said"),
    [
        (True, False, None, r"judge\.think \(true\): llama3 cannot think"),
        ("low", False, None, r"judge\.think \(low\): llama3 cannot think"),
        (False, True, ["low", "medium", "high"], "judge.think: llama3 takes low, medium, high; found false"),
        ("low", True, [True, False], "judge.think: llama3 takes true, false; found low"),
    ],
)
def test_a_value_of_think_that_the_model_does_not_take_is_refused(opened, think, thinks, values, said):
    """The server would go on with its default, and say nothing."""
    with FakeOllama([score(85)]) as server:
        server.capabilities = ["completion", *(["thinking"] if thinks else [])]
        server.think_values = values
        with pytest.raises(ConfigError, match=said) as caught:
            opened(server, think=think)
        assert caught.value.fix.startswith("judge.think: ")
        server.think_values = [think] if thinks else values
        opened(server, think=think if thinks else False)


def thinking(exchange):
    """A model such as gpt-oss: it thinks in spite of `think: false`, and its thinking counts in num_predict."""
    exchange.line(exchange.frame("") | {"message": {"role": "assistant", "content": "", "thinking": "Let me see. "}})
    enough = exchange.body["options"]["num_predict"] >= 1024
    content = '{"score": 85}' if enough else ""
    exchange.line(exchange.final("stop" if enough else "length", content, eval_count=300 if enough else 64))
    exchange.end()


def test_a_model_that_thinks_all_the_same_is_told_so(opened, capsys):
    with FakeOllama([thinking]) as server:
        server.capabilities = ["completion", "thinking"]
        judge = opened(server)
        found = [judge.judge(QUESTION) for _ in range(2)]
        assert opened(server, num_predict=1024).judge(QUESTION).score == 85
    assert [one.status for one in found] == ["invalid"] * 2
    assert "(done_reason 'length'); the model had thought; found ''" in found[0].detail
    assert remedies.of_verdict(found[0].detail).startswith(
        "set judge.num_predict to 1024 or more in params.yaml, since"
    )
    told = capsys.readouterr().out
    assert told.count("llama3 thinks in spite of judge.think: false, and its thinking counts in judge.num_predict") == 2


def test_a_full_queue_names_what_to_lower(opened):
    with FakeOllama([server_error(503)]) as server:
        detail = opened(server, retries=0).judge(QUESTION).detail
    assert remedies.of_verdict(detail).startswith("lower judge.parallel in params.yaml, or raise OLLAMA_NUM_PARALLEL")


def test_half_of_a_surrogate_pair_is_no_verdict_and_is_kept(opened, tmp_path):
    content = '{"score": 85, "reason": "\\ud800"}'
    with FakeOllama([text(json.loads(f'"{chr(92)}ud800 85"')), text(content)]) as server:
        judge = opened(server)
        with VerdictCache(tmp_path / "cache.jsonl") as cache:
            found = judge.judge(QUESTION)
            assert cache.put("a", found)
    assert (found.status, found.score) == ("invalid", None)
    assert found.detail == "half of a surrogate pair, which is no text; found '\\\\ud800 85'"
    found.detail.encode()


def test_the_key_goes_to_this_machine_and_into_no_message(opened, monkeypatch):
    monkeypatch.setenv("OLLAMA_API_KEY", "sk-secret")
    with FakeOllama([score(85)]) as server:
        server.key = "sk-secret"
        judge = opened(server)
        assert judge.judge(QUESTION).score == 85
        assert "sk-secret" not in str(judge.identity())
        server.key = "another"
        with pytest.raises(ConfigError, match="refuses the key in OLLAMA_API_KEY: HTTP 401: unauthorized") as caught:
            opened(server)
        assert "sk-secret" not in str(caught.value)
        assert "ollama signin" in caught.value.fix
        monkeypatch.delenv("OLLAMA_API_KEY")
        with pytest.raises(ConfigError, match="wants a key, and OLLAMA_API_KEY is not set") as caught:
            opened(server)
    assert caught.value.exit_code == 78


def test_the_key_does_not_go_unencrypted_to_another_machine(monkeypatch):
    monkeypatch.setenv("OLLAMA_API_KEY", "sk-secret")
    monkeypatch.setenv("OLLAMA_HOST", "http://gpu-box:11434")
    with pytest.raises(ConfigError, match="OLLAMA_HOST: the key in OLLAMA_API_KEY would go unencrypted to gpu-box"):
        open_ollama_judge(settings())


@pytest.mark.parametrize("length", [12, 64])
def test_a_pinned_digest_is_the_models(opened, length):
    with FakeOllama([score(85)]) as server:
        opened(server, digest=fake.DIGEST[:length]).check()
        judge = opened(server, digest=fake.DIGEST[:length])
        server.digest = "0" * 64
        with pytest.raises(ConfigError, match=f"judge.digest: .*has llama3 with the digest 0000.*; expected {'365c'}"):
            judge.check()
        with pytest.raises(ConfigError) as caught:
            opened(server, digest=fake.DIGEST[:length])
    assert caught.value.fix.endswith("take this one: judge.digest: '000000000000'")


def test_a_tag_that_has_moved_is_told_once(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    said = "llama3 is another model than when it last judged here: its digest 365c0bd3c000 is now 000000000000"
    with FakeOllama([score(85)]) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        for digest, times in ((fake.DIGEST, 0), (fake.DIGEST, 0), ("0" * 64, 1), ("0" * 64, 1)):
            server.digest = digest
            open_judge(settings()).close()
            assert (digest, (capsys.readouterr().out).count(said)) == (digest, times if digest != fake.DIGEST else 0)
            if times:
                break
        open_judge(settings()).close()
        assert capsys.readouterr().out == ""
        server.digest = fake.DIGEST
        open_judge(settings(digest=fake.DIGEST[:12])).close()  # a pinned one has been checked
        assert capsys.readouterr().out == ""


def test_what_it_costs_is_counted(opened):
    with FakeOllama([score(85), server_error(503), score(85)]) as server:
        judge = opened(server)
        assert judge.costs() is None
        judge.judge(QUESTION)
        judge.judge(QUESTION)
    costs = judge.costs().model_dump(exclude_unset=True)
    assert costs.pop("seconds") > 0
    assert costs.pop("load_seconds") == pytest.approx(2 * 0.000856218)
    assert costs.pop("prompt_seconds") == pytest.approx(2 * 0.281467)
    assert costs.pop("reply_seconds") == pytest.approx(2 * 0.474565)
    tokens = len(fake.prompt(server.chats[0]).encode()) // 3
    about = {"size_vram": 5_000_000_000, "context_length": 8192}
    assert costs == {"replies": 2, "prompt_tokens": 2 * tokens, "reply_tokens": 20} | about


@pytest.mark.parametrize("wrong", [5, "x", {"a": 1}], ids=repr)
def test_probabilities_of_the_wrong_type_are_a_fault(opened, wrong):
    with FakeOllama([text('{"score": 4}', logprobs=wrong)]) as server:
        judgement = opened(server, rubric="levels-v1", expected_value=True, retries=0).judge(QUESTION)
    assert judgement.status == "failed"
    assert judgement.detail.startswith("not a line of Ollama's protocol: ")


@pytest.mark.parametrize("rubric", ["graded-v1", "reasoned-v1", "book"])
def test_the_expected_value_wants_a_short_scale(opened, rubric):
    with FakeOllama() as server, pytest.raises(ConfigError, match="expected a rubric whose scores are single digits"):
        opened(server, rubric=rubric, expected_value=True)


def test_what_is_not_ollama_is_said(opened, monkeypatch):
    with FakeOllama() as server:
        monkeypatch.setattr(server, "address", f"{server.address}/elsewhere")
        with pytest.raises(ServiceUnavailable, match="HTTP 404: 404 page not found") as caught:
            opened(server)
    assert "ollama pull" not in str(caught.value)


def test_an_unknown_rubric_is_said(opened):
    with FakeOllama() as server, pytest.raises(ConfigError, match=r"expected one of book, graded-v1, .*found 'nope'"):
        opened(server, rubric="nope")


def test_the_key_is_that_of_the_whole_request(opened):
    with FakeOllama() as server:
        judge, other = opened(server), opened(server, seed=124)
    same = Question(
        "row-2", "base", *[getattr(QUESTION, name) for name in ("instruction", "input", "reference", "answer")]
    )
    changed = Question("row-1", "tuned", QUESTION.instruction, "", QUESTION.reference, "Jane Austen")
    assert judge.key(QUESTION) == judge.key(same)
    assert len({judge.key(QUESTION), judge.key(changed), other.key(QUESTION)}) == 3


def test_the_program_says_its_address_and_serves():
    command = [sys.executable, "-m", "tests.fake_ollama", "--port", "0", "--model", "judge"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"NO_PROXY": "*"}) as process:
        try:
            url = process.stdout.readline().strip()
            with requests.Session() as session:
                session.trust_env = False
                body = {"model": "judge", "messages": [{"role": "user", "content": "x"}], "stream": False}
                with session.post(f"{url}/api/chat", json=body, timeout=10) as response:
                    # sha256("x") mod 101
                    assert response.json()["message"]["content"] == '{\n  "score": 92\n}'
        finally:
            process.kill()
