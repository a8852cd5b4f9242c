"""A judge is judged first: what cannot tell right answers from wrong ones is found out before it scores."""

import itertools
import json

import pytest

from stages.common.errors import ConfigError, ServiceUnavailable
from stages.judging.ollama import open_ollama_judge
from stages.judging.reference import ReferenceJudge
from stages.judging.self_test import probes, self_test
from tests.fake_ollama import FakeOllama, careful, hashed, parts, score, server_error, text
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
            return self_test(judge, chosen, tmp_path / "kept.json")
        finally:
            judge.close()

    return try_


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
    assert json.loads((tmp_path / "kept.json").read_text()) == result


def test_the_separation_is_right_minus_wrong(tried):
    """100 for the reference, 30 for one of the seven wrong kinds and 0 for the others: 100 - 30 / 7."""

    def behave(body):
        reference, answer = parts(body)
        return score(100 if reference == answer else 30 if answer == ":" else 0)

    with FakeOllama(behave) as server:
        result = tried(server)
    assert result["separation"] == pytest.approx(100 - 30 / 7, abs=0.005)
    assert result["kinds"] == dict.fromkeys(KINDS, 0.0) | {"reference": 100.0, "colon": 30.0}


numbers = itertools.count()

USELESS = {
    "ignores what it is asked": (hashed, "right answers score"),
    "always 95": (score(95), "right answers score 0 points more than wrong ones"),
    "upside down": (lambda exchange: score(0 if len(set(parts(exchange.body))) == 1 else 100)(exchange), "-100 points"),
    "obeys the answer": (
        lambda exchange: score(0 if parts(exchange.body)[1] in ("", ":") else 100)(exchange),
        "instruction to the judge 100",
    ),
    "no score": (text("I'd rate this 85"), 'probes without a score: 48 (not JSON; found "I\'d rate this 85")'),
    "ignores its options": (
        lambda exchange: score(90 if len(set(parts(exchange.body))) == 1 else next(numbers) % 40)(exchange),
        "at temperature 0, it gave 100 % of the probes another score",
    ),
}


@pytest.mark.parametrize(("behaviour", "said"), USELESS.values(), ids=USELESS.keys())
def test_a_judge_that_cannot_judge_is_told_so_and_not_remembered(tried, tmp_path, behaviour, said):
    with FakeOllama([behaviour]) as server, pytest.raises(ConfigError) as caught:
        tried(server)
    assert caught.value.what.startswith("this judge cannot judge: ")
    assert said in caught.value.what
    assert not (tmp_path / "kept.json").exists()


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
    (tmp_path / "kept.json").write_text('{"separation": 99')
    with FakeOllama() as server:
        assert tried(server)["separation"] < 99
    assert "kinds" in json.loads((tmp_path / "kept.json").read_text())


def test_a_server_that_does_not_answer_is_not_taken_for_a_bad_judge(tried):
    def behave(body):
        return server_error(503, "busy") if parts(body)[1] == ":" else careful

    with FakeOllama(behave) as server, pytest.raises(ServiceUnavailable, match="6 of 48 probes got no answer"):
        tried(server)


def test_the_built_in_judge_passes():
    result = self_test(ReferenceJudge(), settings(backend="reference"))
    assert result["separation"] > 60
    assert result["kinds"]["reference"] == 100.0
    assert (result["without_score"], result["unstable"]) == (0, 0.0)
