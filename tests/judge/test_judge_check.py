"""The judge card: what it says of the built-in judge, and of a language model behind a server."""

import json
import sys

import pytest

from stages.common.errors import ConfigError, DataError
from stages.common.records import read_metrics
from stages.common.results.judge import Verdict
from stages.judge.judges.protocol import Judgement
from tests.fake_ollama import FakeOllama, careful, pair, parts, score, text
from tests.flows.grading.made import fill
from tests.judge.judging import settings
from tests.root import ROOT
from tools.grades import GRADES, Graded, auc
from tools.judge_card import Card, consistency, markdown
from tools.judge_check import card_of, labelled, main
from tools.label_agreement import agreement


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def graded(answer, right, grade):
    row = ("held out", "quick", "What is the capital of Norway?", "", "The capital of Norway is Oslo.")
    return Graded(*row, answer=answer, right=right, grade=grade)


def judged(question, value, spread=None):
    status = "invalid" if value is None else "scored"
    verdict: Verdict = Judgement(status, value, "", spread).verdict(question.question())
    return verdict


FOUR = [graded("Oslo.", True, 100), graded("Bergen.", False, 5), graded("A town.", False, 0), graded("Oslo!", True, 90)]


def test_agreement_by_hand():
    """The last has no score. Of the pairs (90, 40) and (90, 90) one is in order and one is a tie."""
    found = agreement(FOUR, [judged(one, value) for one, value in zip(FOUR, (90.0, 40.0, 90.0, None), strict=True)])
    assert (found.answers, found.right, found.scored) == (4, 2, 3)
    assert found.auc == 0.75
    assert (found.mean_score, found.mean_grade) == (73.33, 35.0)
    assert found.mean_distance == 45.0  # 10, 35 and 90
    assert found.pearson == 0.4611  # 1500 by the root of 1666.67 times 6350
    # All answers are to one question, from which no scatter is seen.
    assert {interval.low for interval in found.intervals.values()} == {None}
    assert set(found.intervals) == {"auc", "pearson", "mean_score", "mean_grade", "mean_distance"}


def test_the_intervals_of_agreement_are_over_questions():
    """Twenty questions with a right and a wrong answer each; the judge mistakes both of every fifth question."""
    answers, verdicts = [], []
    for number in range(20):
        good, bad = (90.0, 10.0) if number % 5 else (10.0, 90.0)
        for answer, right, grade, value in (("Oslo.", True, 90, good), ("Bergen.", False, 10, bad)):
            answers.append(graded(answer, right, grade)._replace(input=str(number)))
            verdicts.append(judged(answers[-1], value))
    found = agreement(answers, verdicts)
    # Of the 20 x 20 pairs 16 x 16 are in order, and 2 x 16 x 4 are ties.
    assert (found.auc, found.pearson, found.mean_distance) == (0.8, 0.6, 16.0)
    again = auc([one.score for one in verdicts[::2]], [one.score for one in verdicts[1::2]])
    assert again == found.auc
    for name, figure in (("auc", 0.8), ("pearson", 0.6), ("mean_distance", 16.0)):
        ends = found.intervals[name]
        assert ends.low < figure < ends.high
    # A share of questions: 0.8 with a standard deviation of 0.09.
    assert found.intervals["auc"].low == pytest.approx(0.6, abs=0.05)
    assert found.intervals["auc"].high == pytest.approx(0.95, abs=0.05)
    perfect = agreement(answers, [judged(one, float(one.grade)) for one in answers])
    assert (perfect.auc, perfect.intervals["auc"].method) == (1.0, "none: all draws of questions give the same")


def test_there_is_no_figure_where_there_is_nothing_to_compute():
    nothing = agreement(FOUR, [judged(one, None) for one in FOUR])
    assert (nothing.scored, nothing.pearson, nothing.auc, nothing.mean_score) == (0, None, None, None)
    always = agreement(FOUR, [judged(one, 95.0) for one in FOUR])
    assert (always.pearson, always.auc) == (None, 0.5)
    assert auc([], [1.0]) is None


def test_consistency_by_hand():
    spreads = (0.0, 3.0, 0.0)
    found = consistency([judged(one, 90.0, spread) for one, spread in zip(FOUR, spreads, strict=False)], 3)
    assert (found.answers, found.same, found.mean_spread) == (3, 0.6667, 1.0)
    assert consistency([judged(one, None) for one in FOUR], 3).same is None
    assert consistency([judged(one, 90.0) for one in FOUR], 1).same == 1.0


def test_the_card_of_the_built_in_judge(project, monkeypatch, capsys):
    (project / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.setattr(sys, "argv", ["judge-check", "--out", str(project / "card")])
    main()
    card = read_metrics(project / "card" / "judge-card.json", Card, made_by="make judge-check")
    assert card.self_test.refused is None
    assert (card.all_rows.answers, card.not_equal_to_reference.answers) == (155, 147)
    assert card.not_equal_to_reference.auc > 0.95
    assert (card.pairs.named_right, card.costs) == (1.0, None)
    assert (card.held_out.answers, card.held_out.right) == (82, 17)
    assert card.not_equal_to_reference.intervals["pearson"].low > 0.9
    text = (project / "card" / "judge-card.md").read_text()
    assert text.startswith("# Judge card: built-in reference judge\n")
    assert "| near miss | low | 12 |" in text
    assert "A fixed measure: it says the same again." in text
    assert text.endswith("## Cost\n\nNot measured: the built-in judge asks no server.\n")
    assert "| a lone colon | low | 6 | 0.0 | 0 to 0 |" in text
    assert "| of these, the held-out half | 82 | 17 | 75 | " in text
    assert "None" not in text
    assert text in capsys.readouterr().out


@pytest.fixture
def labels(project):
    """Twelve of the graded answers: one equal to its reference, and eleven others."""
    rows = [json.loads(line) for line in GRADES.read_text().splitlines()]
    exact = [row for row in rows if row["answer"] == row["reference"]][:1]
    others = [row for row in rows if row["answer"] != row["reference"]]
    some = exact + [row for row in others if row["right"]][:5] + [row for row in others if not row["right"]][:6]
    (project / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    return project / "labels.jsonl"


def test_the_card_of_a_model_behind_ollama_and_it_is_not_asked_twice(labels, monkeypatch):
    def behave(body):
        if (texts := pair(body)) is not None:
            return text(json.dumps({"better": "first" if texts[1] == texts[0] else "second"}))
        return careful

    chosen = settings(backend="ollama", temperature=0.5, on_refusal="warn")
    with FakeOllama(behave) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        card = card_of(chosen, labels, 3)
        # The probes, those asked again, the pairs, the answers, and 11 of them twice more.
        assert len(server.chats) == 126 + 12 + 48 + 12 + 22
        assert card.costs.replies == 126 + 12 + 48 + 12 + 22 + 1
        assert (card.consistency.answers, card.consistency.repeats, card.consistency.same) == (11, 3, 1.0)
        assert (card.pairs.named_right, card.pairs.first_position_share) == (1.0, 0.5)
        again = card_of(chosen, labels, 3)
    assert len(server.chats) == 126 + 12 + 48 + 12 + 22
    assert again.costs is None
    assert card.model_copy(update={"costs": None}) == again
    assert "Not measured: all verdicts were known from an earlier check" in markdown(again)
    assert card.held_out is None
    told = markdown(card)
    assert "# Judge card: llama3\n" in told
    assert "11 answers scored 3 times, each time with the next seed: the same score for 100 %" in told
    assert "10 tokens written: the mean of 221 replies." in told


def test_the_card_of_a_judge_that_is_refused_says_so(labels, monkeypatch):
    def behave(body):
        return score(95) if parts(body) is not None else text("hm")

    with FakeOllama(behave) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        card = card_of(settings(backend="ollama", on_refusal="warn"), labels, 2)
    assert (card.all_rows.auc, card.all_rows.pearson, card.all_rows.mean_score) == (0.5, None, 95.0)
    assert card.pairs is None
    told = markdown(card)
    assert "# Judge card: llama3 (REFUSED BY ITS SELF-TEST; CANNOT TELL RIGHT FROM WRONG)" in told
    assert "Refused: this judge cannot judge: right answers score 0 points more than wrong ones" in told
    assert "Not known: this judge cannot compare" in told
    with FakeOllama([text("hm")]) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        server.digest = "1" * 64
        with pytest.raises(ConfigError, match="none of its 126 replies was a score"):
            card_of(settings(backend="ollama", on_refusal="warn"), labels, 2)


def line(**changes):
    """A line of a file of graded answers."""
    row = graded("Oslo.", True, 100)._asdict()
    return json.dumps(row | changes) + "\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "labels.jsonl"),
        ("", "expected graded answers, found none"),
        ('{"a": 1}\n', "labels.jsonl, line 1: half: missing"),
        ("x", "line 1"),
        (line(grade=900), "labels.jsonl, line 1: grade: expected 100 or less; found 900"),
        (line() + line(grade="good"), "labels.jsonl, line 2: grade: "),
        (line(right="yes"), "labels.jsonl, line 1: right: "),
        ('{"id": "r00", "answer": "0", "score": 101}\n', "labels.jsonl, line 1: score: expected 100 or less"),
    ],
)
def test_labels_that_are_none_are_told(project, content, said):
    path = project / "labels.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=said) as caught:
        labelled(path)
    assert str(caught.value.fix).startswith("give a file of the form that assets/grading/README.md describes")


def test_a_grade_out_of_bounds_is_told_before_the_judge_is_asked(project, monkeypatch):
    (project / "labels.jsonl").write_text(line() + line(grade=900))
    with FakeOllama(careful) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        with pytest.raises(DataError, match=r"labels.jsonl, line 2: grade: expected 100 or less"):
            card_of(settings(backend="ollama"), project / "labels.jsonl", 3)
        assert server.chats == []


def test_the_file_of_flows_grade_is_joined_with_the_test_rows(project):
    """An answer is right from 80 points on; a line without a score is not graded yet."""
    fill(project, rows=3)
    scores = {"r00": 80.0, "r01": 79.9, "r02": None}
    lines = [{"id": id, "model": "tuned", "answer": id[-1], "score": score} for id, score in scores.items()]
    path = project / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    assert labelled(path) == [
        Graded("held out", "tuned", "Say 0.", "", "0", "0", right=True, grade=80.0),
        Graded("held out", "tuned", "Say 1.", "", "1", "1", right=False, grade=79.9),
    ]
    path.write_text(path.read_text() + '{"id": "r77", "answer": "x", "score": 1.0}\n')
    with pytest.raises(DataError, match=r"labels.jsonl: 1 id of no row of artifacts/split/test.jsonl.*: r77"):
        labelled(path)


def test_at_temperature_0_no_answer_is_asked_for_again(labels, monkeypatch):
    def behave(body):
        if (texts := pair(body)) is not None:
            return text(json.dumps({"better": "first" if texts[1] == texts[0] else "second"}))
        return careful

    with FakeOllama(behave) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        card = card_of(settings(backend="ollama", on_refusal="warn"), labels, 3)
        # The probes, those asked again, the pairs, and the answers.
        assert len(server.chats) == 126 + 12 + 48 + 12
    assert (card.consistency.answers, card.consistency.same, card.consistency.mean_spread) == (0, None, None)
    assert "## Self-consistency\n\nTemperature 0: not measured.\n" in markdown(card)
