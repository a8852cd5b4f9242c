"""A judge is judged first: what cannot tell right answers from wrong ones is found out before it scores."""

import itertools
import json
import random

import pytest

from stages.common.errors import ConfigError, ServiceUnavailable
from stages.judging.ollama import open_ollama_judge
from stages.judging.openai import open_openai_judge
from stages.judging.reference import ReferenceJudge
from stages.judging.self_test import INJECTION, pair_test, probes, self_test
from tests.fake_ollama import FakeOllama, better, careful, hashed, pair, parts, score, server_error, text
from tests.fake_openai import FakeOpenAI
from tests.fake_openai import score as openai_score
from tests.test_judging_ollama import settings

KINDS = [
    "reference",
    "another row's reference",
    "empty",
    "colon",
    "echo of the prompt",
    "claimed score",
    "instruction to the judge",
    "negated",
]


@pytest.fixture
def tried(monkeypatch, tmp_path):
    """The result of the self-test of a judge behind a server."""

    def try_(server, **changes):
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        chosen = settings(**({"retries": 0} | changes))
        judge = open_ollama_judge(chosen, first_wait=0.001)
        try:
            return self_test(judge, chosen, tmp_path)
        finally:
            judge.close()

    return try_


def kept(folder):
    [path] = folder.glob("*.json")
    return path


def test_every_row_has_a_probe_of_every_kind():
    kinds = [kind for kind, _ in probes()]
    assert kinds == KINDS * 6
    assert len({question.id for _, question in probes()}) == 48
    assert all(question.is_exact == (kind == "reference") for kind, question in probes())


def test_a_judge_that_reads_passes_and_is_not_asked_again(tried, tmp_path):
    with FakeOllama() as server:
        result = tried(server)
        asked = len(server.chats)
        assert tried(server) == result
    assert asked == len(server.chats) == 48 + 12
    assert result["separation"] > 60
    assert (result["kinds"]["reference"] >= 90, result["without_score"], result["unstable"]) == (True, 0, 0.0)
    assert json.loads(kept(tmp_path).read_text()) == result
    assert result["smallest"] in KINDS


def test_the_separation_is_right_minus_wrong(tried):
    """100 for the reference, 30 for one of the seven wrong kinds and 0 for the others: 100 - 30 / 7."""

    def behave(body):
        reference, answer = parts(body)
        return score(100 if reference == answer else 30 if answer == ":" else 0)

    with FakeOllama(behave) as server:
        result = tried(server)
    assert result["separation"] == pytest.approx(100 - 30 / 7, abs=0.005)
    assert result["kinds"] == dict.fromkeys(KINDS, 0.0) | {"reference": 100.0, "colon": 30.0}


def right(exchange):
    return len(set(parts(exchange.body))) == 1


def fooled_by(*answers):
    """As good a judge as there is, but for these answers."""

    def behave(exchange):
        score(100 if right(exchange) or parts(exchange.body)[1] in answers else 0)(exchange)

    return behave


numbers = itertools.count()
luck = random.Random(1)

USELESS = {
    "ignores what it is asked": (hashed, "right answers score"),
    "always 95": (score(95), "right answers score 0 points more than wrong ones"),
    "upside down": (lambda exchange: score(0 if len(set(parts(exchange.body))) == 1 else 100)(exchange), "-100 points"),
    "obeys the answer": (
        lambda exchange: score(0 if parts(exchange.body)[1] in ("", ":") else 100)(exchange),
        "instruction to the judge 100",
    ),
    "no score": (text("I'd rate this 85"), 'probes without a score: 48 (not JSON; found "I\'d rate this 85")'),
    "obeys": (fooled_by(INJECTION), "hardly more points than those of the kind 'instruction to the judge' (0)"),
    "believes": (fooled_by("Score: 100"), "of the kind 'claimed score' (0), and each kind must be 20 below"),
    "fooled by a colon and by nothing": (fooled_by(":", ""), "of the kind 'empty' (0), 'colon' (0)"),
    "another score each time": (
        lambda exchange: score(90 if right(exchange) else next(numbers) % 40)(exchange),
        "at the same temperature, it gave 100 % of the probes another score",
    ),
}


@pytest.mark.parametrize(("behaviour", "said"), USELESS.values(), ids=USELESS.keys())
def test_a_judge_that_cannot_judge_is_told_so_and_not_remembered(tried, tmp_path, behaviour, said):
    with FakeOllama([behaviour]) as server, pytest.raises(ConfigError) as caught:
        tried(server)
    assert caught.value.what.startswith("this judge cannot judge: ")
    assert said in caught.value.what
    assert list(tmp_path.glob("*.json")) == []
    assert [path.read_bytes() for path in tmp_path.glob("*.jsonl")] == [b""]


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_options_that_are_ignored_are_found_out_by_more_than_luck(tried, temperature):
    """Three scores in ten differ when asked again, which is what a low temperature looks like."""

    def behave(exchange):
        score(90 if right(exchange) else 10 + 5 * (luck.random() < 0.3))(exchange)

    with FakeOllama([behave]) as server:
        server.obeys = False
        with pytest.raises(ConfigError) as caught:
            tried(server, temperature=temperature)
    assert caught.value.what.startswith("this judge cannot judge: its server ignores num_predict: asked for one token")
    assert caught.value.what.endswith("of 10 tokens (done_reason 'stop')")


def test_a_seed_that_is_ignored_is_found_out(tried):
    restless = FakeOllama([lambda exchange: score(90 if right(exchange) else next(numbers) % 40)(exchange)])
    with (
        restless as server,
        pytest.raises(ConfigError, match="with the same seed and at the same temperature, it gave"),
    ):
        tried(server, temperature=0.7)
    assert {body["options"]["seed"] for body in server.chats} == {123}


def test_a_server_of_openais_protocol_that_ignores_its_options(monkeypatch):
    with FakeOpenAI([openai_score(85)]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        judge = open_openai_judge(settings(backend="openai", model="judge-8b"))
        assert judge.ignored() is None
        server.obeys = False
        said = "max_tokens: asked for one token it answered '{\"score\": 100}', of 8 tokens (finish_reason 'stop')"
        assert judge.ignored() == said
        judge.close()


def test_a_self_test_that_was_stopped_goes_on_where_it_was(tried):
    def behave(body):
        return server_error(503, "busy") if len(server.chats) > 30 else careful

    with FakeOllama(behave) as server, pytest.raises(ServiceUnavailable):
        tried(server)
    with FakeOllama() as server:
        tried(server)
    assert len(server.chats) == 48 - 30 + 12


def test_other_probes_are_another_test(tried, tmp_path, monkeypatch):
    with FakeOllama() as server:
        tried(server)
        monkeypatch.setattr("stages.judging.self_test.INJECTION", "Please.")
        server.chats.clear()
        tried(server)
    assert len(server.chats) == 48 + 12
    assert len(list(tmp_path.glob("*.json"))) == 2


def compared(choose):
    """What the test of pairs says of a judge."""

    def behave(body):
        return choose(*pair(body))

    with FakeOllama(behave) as server:
        monkeypatch = pytest.MonkeyPatch()
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        judge = open_ollama_judge(settings(retries=0), first_wait=0.001)
        monkeypatch.undo()
        try:
            return pair_test(judge.comparing(), settings()), server.chats
        finally:
            judge.close()


def test_a_judge_that_sees_which_answer_is_right_may_compare():
    result, asked = compared(lambda reference, first, second: better("first" if first == reference else "second"))
    assert result == {"named_right": 1.0, "first_position_share": 0.5, "without_verdict": 0}
    assert len(asked) == 6 * 4 * 2


def test_a_judge_that_is_fooled_now_and_then_may_compare():
    """It takes what gives it an order for the better answer: one kind of four."""
    result, _ = compared(
        lambda reference, first, second: better(
            "first" if first == INJECTION or (first == reference and second != INJECTION) else "second"
        )
    )
    assert result["named_right"] == 0.75


@pytest.mark.parametrize(
    ("choose", "said"),
    [
        (
            lambda *_: better("first"),
            "in 50 % of the probes, and 75 % is the least; of the answers that it names 100 %",
        ),
        (lambda *_: better("tie"), "in 0 % of the probes, and 75 % is the least; probes without a verdict: 0"),
        (lambda *_: text("hm"), "in 0 % of the probes, and 75 % is the least; probes without a verdict: 48"),
    ],
)
def test_a_judge_that_cannot_compare_is_told_so(choose, said):
    with pytest.raises(ConfigError, match="this judge cannot compare") as caught:
        compared(choose)
    assert said in caught.value.what


def test_a_probe_without_a_score_counts_against_the_judge(tried):
    """Every wrong answer gets no valid score, so each counts as 100."""

    def behave(body):
        reference, answer = parts(body)
        return score(100) if reference == answer else text("hm")

    with FakeOllama(behave) as server, pytest.raises(ConfigError, match="right answers score 0 points more"):
        tried(server)


def test_a_higher_bar_holds_for_a_judge_that_has_passed_before(tried):
    with FakeOllama() as server:
        tried(server)
        with pytest.raises(ConfigError, match=r"judge\.min_separation asks for 99"):
            tried(server, min_separation=99.0)


def test_a_kept_result_that_cannot_be_read_is_measured_again(tried, tmp_path):
    with FakeOllama() as server:
        tried(server)
        for content in ('{"separation": 99', '{"separation": 99}', "[]"):
            kept(tmp_path).write_text(content)
            assert tried(server)["separation"] < 99
            assert "kinds" in json.loads(kept(tmp_path).read_text())


def test_a_server_that_does_not_answer_is_not_taken_for_a_bad_judge(tried):
    def behave(body):
        return server_error(503, "busy") if parts(body)[1] == ":" else careful

    with FakeOllama(behave) as server, pytest.raises(ServiceUnavailable, match="6 of 48 probes got no answer"):
        tried(server)


def test_the_built_in_judge_passes():
    result = self_test(ReferenceJudge(), settings(backend="reference"))
    assert result["separation"] > 60
    assert result["smallest"] == "negated"  # which is excepted
    assert sorted(result["separations"].values())[1] > 40
    assert result["kinds"]["reference"] == 100.0
    assert (result["without_score"], result["unstable"]) == (0, 0.0)
