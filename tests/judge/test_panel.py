"""Many answers through a judge: nothing lost, nothing asked twice, the order kept, a clear end."""

import dataclasses
import hashlib
import itertools
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from stages.common.errors import ServiceUnavailable
from stages.judge.cache import VerdictCache
from stages.judge.judges.ollama import open_ollama_judge
from stages.judge.judges.protocol import TRIAL, JudgeChanged, Question
from stages.judge.panel import FAILURES_IN_A_ROW, Asking, judge_each
from stages.running.signals import Interrupted
from tests import fake_ollama as fake
from tests.fake_ollama import FakeOllama, score, server_error, text
from tests.judge.judging import Told, judge_all, settings


def questions(count):
    return [Question(f"row-{n}", "tuned", "Count.", "", str(n), f"answer {n}") for n in range(count)]


@pytest.fixture
def opened(monkeypatch):
    judges = []

    def open_(server, look_up=60.0, **changes):
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        judges.append(open_ollama_judge(settings(**changes), first_wait=0.001, look_up=look_up))
        return judges[-1]

    yield open_
    for judge in judges:
        judge.close()


def number_in(body):
    """Which of `questions` a request is about."""
    return int(fake.prompt(body).partition("\nanswer ")[2].partition("\n")[0])


def test_the_order_is_that_of_the_questions_whatever_is_done_first(opened):
    def behave(body):
        def later_is_faster(exchange):
            exchange.wait(0.001 * (20 - number_in(body)))
            score(number_in(body))(exchange)

        return later_is_faster

    progress = Told()
    with FakeOllama(behave) as server:
        verdicts = judge_all(opened(server, parallel=8), questions(20), parallel=8, progress=progress)
    assert [(v.id, v.model, v.score) for v in verdicts] == [(f"row-{n}", "tuned", float(n)) for n in range(20)]
    assert sum(progress.made_counts) == 20


@pytest.mark.thorough
def test_a_thousand_answers_through_a_server_that_fails_at_random_is_accounted_for(opened):
    """A third of the first attempts fails, a row in 25 for good, a row in 25 gives no score; jitter changes nothing."""
    faults = [server_error(503), server_error(500), fake.error_in_stream, fake.no_done, fake.cut_in_line, fake.garbage]
    asked = Counter()

    def behave(body):
        number = number_in(body)
        asked[number] += 1
        if number % 25 == 7:
            return server_error(503)
        if number % 25 == 13:
            return text(f"{number}/100")
        digest = hashlib.sha256(str(number).encode()).digest()
        return faults[digest[1] % len(faults)] if asked[number] == 1 and digest[0] % 3 == 0 else score(number % 101)

    with FakeOllama(behave) as server:
        verdicts = judge_all(opened(server, parallel=4), questions(1000), parallel=4)
    assert [verdict.id for verdict in verdicts] == [f"row-{n}" for n in range(1000)]
    for number, verdict in enumerate(verdicts):
        expected = {7: ("failed", None), 13: ("invalid", None)}.get(number % 25, ("scored", float(number % 101)))
        assert (verdict.status, verdict.score) == expected
    assert all(asked[number] == 3 for number in range(7, 1000, 25))
    assert len(asked) == 1000


def test_equal_questions_are_asked_once(opened):
    [first] = questions(1)
    same = Question("row-9", "base", first.instruction, first.input, first.reference, first.answer)
    with FakeOllama([score(70)]) as server:
        verdicts = judge_all(opened(server, parallel=2), [first, same], parallel=2)
    assert [(v.id, v.model, v.score) for v in verdicts] == [("row-0", "tuned", 70), ("row-9", "base", 70)]
    assert len(server.chats) == 1


def test_a_second_run_asks_only_for_what_got_no_answer(opened, tmp_path):
    """What the judge said that is no score it would say again."""

    def behave(body):
        return {3: server_error(500), 5: text("five")}.get(number_in(body), score(50))

    with FakeOllama(behave) as server, VerdictCache(tmp_path / "cache" / "a.jsonl") as cache:
        first = judge_all(opened(server), questions(8), cache=cache)
    with FakeOllama([score(60)]) as server, VerdictCache(tmp_path / "cache" / "a.jsonl") as cache:
        verdicts = judge_all(opened(server), questions(8), cache=cache)
    assert [number_in(body) for body in server.chats] == [3]
    assert [verdict.score for verdict in verdicts] == [50, 50, 50, 60, 50, None, 50, 50]
    assert verdicts[5] == first[5]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_a_server_refuses_once_is_asked_again_by_the_next_run(opened, tmp_path, status):
    """But not the one whose prompt is too long, which is its own fault."""

    def behave(body):
        return {1: server_error(status, "loading"), 2: fake.too_long()}.get(number_in(body), score(50))

    with FakeOllama(behave) as server, VerdictCache(tmp_path / "a.jsonl") as cache:
        verdicts = judge_all(opened(server), questions(4), cache=cache)
    assert [verdict.status for verdict in verdicts] == ["scored", "failed", "invalid", "scored"]
    with FakeOllama([score(60)]) as server, VerdictCache(tmp_path / "a.jsonl") as cache:
        verdicts = judge_all(opened(server), questions(4), cache=cache)
    assert [number_in(body) for body in server.chats] == [1]
    assert [verdict.score for verdict in verdicts] == [50, 60, None, 50]


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_look_up_does_not_wait_for_a_slow_verdict(opened, parallel):
    """The judge is looked up after each verdict, and each but the first comes when the look-up has."""

    numbers = itertools.count(1)

    def slow(exchange):
        number = next(numbers)
        while server.paths.count("/api/version") < number and not exchange.wait(0.01):
            pass
        score(50)(exchange)

    with FakeOllama([slow]) as server:
        judge = opened(server, look_up=60.0, parallel=parallel)
        verdicts = judge_all(judge, questions(3), parallel=parallel, check_seconds=0.0)
    assert [verdict.score for verdict in verdicts] == [50, 50, 50]
    assert server.paths.count("/api/version") >= 3


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_judge_that_changed_before_an_early_stop_is_noticed(opened, tmp_path, parallel):
    """The model is swapped while the third answer is judged, and the fourth verdict is enough."""
    found = []

    def behave(body):
        if number_in(body) == 2:
            server.digest = "f" * 64
        return score(50)

    with FakeOllama(behave) as server, VerdictCache(tmp_path / "a.jsonl") as cache:
        judge = opened(server, parallel=parallel)
        with pytest.raises(JudgeChanged, match=r"digest .* is now ffff"):
            judge_until(4, judge, questions(20), found, Asking(parallel=parallel, cache=cache))
        assert len(found) == 4
        assert len(cache) == 0


@pytest.mark.parametrize("parallel", [1, 4])
def test_an_early_stop_keeps_the_replies_of_the_same_judge(opened, tmp_path, parallel):
    """The later questions are answered when there are enough verdicts, so that not all are asked before."""
    found = []

    def when_enough(exchange):
        while len(found) < 4 and not exchange.wait(0.01):
            pass
        score(50)(exchange)

    def behave(body):
        return score(50) if number_in(body) < 10 else when_enough

    with FakeOllama(behave) as server, VerdictCache(tmp_path / "a.jsonl") as cache:
        judge = opened(server, parallel=parallel)
        judge_until(4, judge, questions(20), found, Asking(parallel=parallel, cache=cache))
        assert len(found) == 4
        assert len(cache) >= 4
        assert len(server.chats) < 20


def judge_until(count, judge, asked, found, asking):
    """Judge, and keep in ``found`` each verdict that comes, until there are so many."""
    for verdict in judge_each(judge, asked, asking, enough=lambda: len(found) == count):
        found.append(verdict)


def test_answers_that_fail_again_and_again_do_not_keep_the_others_from_their_scores(opened, tmp_path):
    """Six rows of twenty crash the server each time: the second run asks these alone, and ends as the first."""

    def behave(body):
        if TRIAL.instruction in fake.prompt(body):
            return score(0)
        return server_error(500) if number_in(body) < 6 else score(50)

    for asked in (20 + 1, 6 + 1):
        with FakeOllama(behave) as server, VerdictCache(tmp_path / "a.jsonl") as cache:
            verdicts = judge_all(opened(server, retries=0), questions(20), cache=cache)
        assert [verdict.status for verdict in verdicts] == ["failed"] * 6 + ["scored"] * 14
        assert len(server.chats) == asked


def test_how_many_judgements_come_is_said_beforehand(opened, tmp_path):
    [first, second] = questions(2)
    same = dataclasses.replace(first, model="base")
    exact = dataclasses.replace(second, answer=second.reference)
    progress = Told()
    with FakeOllama([score(70)]) as server, VerdictCache(tmp_path / "a.jsonl") as cache:
        judge = opened(server, temperature=0.7)
        judge_all(judge, [first], repeats=3, cache=cache)
        judge_all(judge, [first, same, exact, second], repeats=3, skip_exact=True, cache=cache, progress=progress)
    assert progress.started == [9]  # of the equal ones each, of what is not asked none
    assert (sum(progress.known_counts), sum(progress.made_counts)) == (6, 3)  # in the cache, or asked for a row before


def test_a_server_that_goes_away_stops_all_and_keeps_what_there_is(opened, tmp_path):
    path = tmp_path / "verdicts.jsonl"
    with FakeOllama([score(50), score(50), score(50), fake.silent]) as server, VerdictCache(path) as cache:
        judge = opened(server)

        def stop_after_three(_):
            if len(cache) == 3:
                server.stop()

        with pytest.raises(
            ServiceUnavailable, match=r"3 of 50 verdicts are kept in .*; the next run goes on"
        ) as caught:
            judge_all(judge, questions(50), cache=cache, progress=Told(stop_after_three))
    assert "no Ollama at http://127.0.0.1:" in caught.value.what
    assert "ollama serve" in caught.value.fix


def test_a_judge_in_doubt_is_asked_no_more_at_a_time_than_it_takes(opened):
    """A question beside those under way would wait for them, with its deadline running."""
    running, most = [], []

    def behave(body):
        answered = TRIAL.instruction in fake.prompt(body) or number_in(body) >= FAILURES_IN_A_ROW

        def one_of_several(exchange):
            running.append(None)
            most.append(len(running))
            exchange.wait(0.3 if answered else 0.01)
            running.pop()
            (score(50) if answered else server_error(500))(exchange)

        return one_of_several

    with FakeOllama(behave) as server:
        verdicts = judge_all(opened(server, parallel=2, retries=0), questions(9), parallel=2)
    assert [verdict.status for verdict in verdicts] == ["failed"] * 5 + ["scored"] * 4
    assert len(server.chats) == 9 + 1
    assert max(most) == 2


def test_a_judge_that_fails_again_and_again_is_not_asked_to_the_end(opened, tmp_path):
    with FakeOllama([server_error(503, "busy")]) as server, VerdictCache(tmp_path / "v.jsonl") as cache:
        with pytest.raises(
            ServiceUnavailable,
            match=r"failed on 5 answers in a row, .*: HTTP 503: busy; and it does not answer a simple",
        ):
            judge_all(opened(server, retries=0), questions(50), cache=cache)
        assert FAILURES_IN_A_ROW < len(server.chats) < 50


@pytest.mark.parametrize("parallel", [1, 4])
@pytest.mark.parametrize("meanwhile", ["nothing", "another model", "gone", "slow"])
def test_a_stop_keeps_what_the_same_judge_said_and_nothing_that_another_may_have(opened, tmp_path, meanwhile, parallel):
    """As Ctrl-C, between two checks of the judge. What it is asked is over when the stop is."""
    with FakeOllama([score(50)]) as server, VerdictCache(tmp_path / "a.jsonl") as cache:
        judge = opened(server, parallel=parallel)

        def stop(_):
            if len(cache) < 3:
                return
            if meanwhile == "another model":
                server.digest = "f" * 64
            elif meanwhile == "gone":
                server.stop()
            elif meanwhile == "slow":
                server.look_seconds = 30.0
            raise Interrupted("SIGINT")

        began = time.monotonic()
        with pytest.raises(Interrupted):
            judge_all(judge, questions(40), cache=cache, parallel=parallel, progress=Told(stop))
        assert time.monotonic() - began < 15
        if meanwhile == "nothing":
            assert 3 <= len(cache) < 40
        else:
            assert len(cache) == 0
        assert (tmp_path / "a.jsonl").read_text().count("\n") == len(cache)


PROGRAM = """
import sys
from pathlib import Path
from stages.running import program
from stages.judge.cache import VerdictCache
from stages.judge.judges.ollama import open_ollama_judge
from tests.judge.judging import judge_all, settings
from tests.judge.test_panel import questions

def main():
    with VerdictCache(Path(sys.argv[1])) as cache:
        judge_all(open_ollama_judge(settings(deadline_seconds=600.0)), questions(6), cache=cache)

program.run("judge", main)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 75)])
def test_a_run_that_is_stopped_goes_on_where_it_was(opened, monkeypatch, tmp_path, number, code):
    path = tmp_path / "verdicts.jsonl"
    with FakeOllama([score(10), score(20), score(30), fake.talk]) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        command = [sys.executable, "-c", PROGRAM, str(path)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            while len(server.chats) < 4 and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(number)
            _, errors = process.communicate(timeout=120)
        assert process.returncode == code
        assert "Traceback" not in errors
    with path.open("a") as file:
        file.write('{"key": "half a li')
    with FakeOllama([score(40)]) as server, VerdictCache(path) as cache:
        verdicts = judge_all(opened(server), questions(6), cache=cache)
    assert [verdict.score for verdict in verdicts] == [10, 20, 30, 40, 40, 40]
    assert [number_in(body) for body in server.chats] == [3, 4, 5]
    assert path.read_text().count("\n") == 6
