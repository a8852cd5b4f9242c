"""Answers side by side: two verdicts make an outcome, disagreement is a tie, and whole instructions are drawn."""

import json

import pytest

from stages.common.metrics.judge import Interval, JudgeIdentity, PairSelfTest
from stages.common.results.judge import PairVerdict, Verdict
from stages.judge.judges.protocol import Question
from stages.judge.scores.pairwise import _win_rate, in_both_orders, settle, summarise_figures, summarise_pairs
from stages.judge.thresholds import require_outcomes


def pair_verdict(index, outcome, cluster, lengths=(10, 10)):
    said = {"win": "tuned", "loss": "base"}.get(outcome, "tie")
    return PairVerdict(
        id=f"r{index}",
        status="judged",
        outcome=outcome,
        tuned_first=said,
        base_first=said,
        identical=False,
        tuned_length=lengths[0],
        base_length=lengths[1],
        detail="",
        cluster=cluster,
    )


def summary(rows, resamples, seed):
    judge = JudgeIdentity(fingerprint="ab", backend="reference")
    tested = PairSelfTest(named_right=1.0, named_right_of={}, first_position_share=0.5, without_verdict=0)
    return summarise_pairs(rows, judge, tested, resamples=resamples, seed=seed)


def test_the_interval_draws_whole_instructions():
    """Twenty instructions with ten rows each that win or lose together, and two hundred rows that do so apart."""
    outcomes = ["win" if index % 3 else "loss" for index in range(20)]
    together = [pair_verdict(index, outcomes[index // 10], f"c{index // 10}") for index in range(200)]
    apart = [pair_verdict(index, outcomes[index // 10], f"c{index}") for index in range(200)]
    widths = []
    for rows in (together, apart):
        found = _win_rate(rows, resamples=2000, seed=1)
        assert found.mean == 0.65  # 13 of 20
        widths.append(found.interval.high - found.interval.low)
    # 2 x t x sqrt(0.65 x 0.35 / (n - 1)) for 20 and for 200, and a little more where BCa reaches further
    assert widths[0] == pytest.approx(0.458, abs=0.03)
    assert widths[1] == pytest.approx(0.132, abs=0.02)


@pytest.mark.parametrize(("outcome", "low", "high"), [("win", 0.926, 1.0), ("loss", 0.0, 0.074), ("tie", 0.463, 0.537)])
def test_what_never_came_may_still_come(outcome, low, high):
    """48 instructions, one of which has two rows: 0.025^(1/48) = 0.92603."""
    rows = [pair_verdict(index, outcome, f"c{min(index, 47)}") for index in range(49)]
    found = summary(rows, resamples=100, seed=1).win_rate.interval
    method = "exact (Clopper and Pearson): the mean of all 48 instructions is the same"
    assert found == Interval(level=0.95, low=low, high=high, method=method)


def test_what_was_won_throughout_has_no_interval_at_equal_length():
    rows = [pair_verdict(index, "win", f"c{index}", (10 + index % 7, 13)) for index in range(60)]
    found = summary(rows, resamples=100, seed=1).length_controlled
    assert found.win_rate > 0.98
    method = "none: all rows have the same outcome, and so would all resamples"
    assert found.interval == Interval(level=0.95, low=None, high=None, method=method)


def test_no_rows_give_no_figures():
    found = summary([], resamples=100, seed=1)
    assert (found.rows, found.win_rate.mean, found.win_rate.bounds.low) == (0, None, None)
    assert in_both_orders([]) == []
    json.dumps(found.model_dump(), allow_nan=False)


def asked(row, tuned, base):
    """A row's two questions."""
    return [Question(row, model, "Say it.", "", "ref", answer) for model, answer in (("base", base), ("tuned", tuned))]


def named(row, first, score, status="scored"):
    """A verdict on the pair whose first answer is that of a model."""
    known = score if status == "scored" else None
    return Verdict(id=row, model=first, status=status, score=known, detail=f"{first} {score}")


#: Scores of the answer shown first, tuned first and base first, and what is made of them.
SETTLED = [
    (100, 0, "win", ("tuned", "tuned")),
    (0, 100, "loss", ("base", "base")),
    (100, 100, "tie", ("tuned", "base")),
    (0, 0, "tie", ("base", "tuned")),
    (50, 50, "tie", ("tie", "tie")),
    (50, 0, "tie", ("tie", "tuned")),
    (51, 49, "win", ("tuned", "tuned")),
    (49.5, 50.5, "loss", ("base", "base")),
]


@pytest.mark.parametrize(("tuned_first", "base_first", "outcome", "names"), SETTLED)
def test_two_verdicts_make_an_outcome(tuned_first, base_first, outcome, names):
    questions = asked("r", "four", "fifteen")
    verdicts = [named("r", "base", base_first), named("r", "tuned", tuned_first)]
    assert settle(questions, verdicts) == [
        PairVerdict(
            id="r",
            status="judged",
            outcome=outcome,
            tuned_first=names[0],
            base_first=names[1],
            identical=False,
            tuned_length=4,
            base_length=7,
            detail=f"tuned first: tuned {tuned_first}; base first: base {base_first}",
            cluster=questions[0].cluster,
        )
    ]


@pytest.mark.parametrize(
    ("tuned_first", "base_first", "status"),
    [("invalid", "scored", "invalid"), ("scored", "invalid", "invalid"), ("invalid", "failed", "failed")],
)
def test_without_both_verdicts_there_is_no_outcome(tuned_first, base_first, status):
    verdicts = [named("r", "tuned", 100, tuned_first), named("r", "base", 100, base_first)]
    [found] = settle(asked("r", "a", "b"), verdicts)
    assert (found.status, found.outcome) == (status, None)


def test_only_answers_that_differ_are_asked_about_in_both_orders():
    questions = [*asked("same", " yes\n", "yes"), *asked("other", "a", "bc")]
    assert [(one.id, one.model, one.answer, one.other) for one in in_both_orders(questions)] == [
        ("other", "tuned", "a", "bc"),
        ("other", "base", "bc", "a"),
    ]
    [tie] = settle(questions[:2], [])
    assert (tie.status, tie.outcome, tie.identical) == ("judged", "tie", True)
    assert (tie.tuned_first, tie.base_first, tie.tuned_length, tie.base_length) == (None, None, 5, 3)
    assert (tie.detail, tie.cluster) == ("identical answers; not asked", questions[0].cluster)


@pytest.mark.parametrize("answers", [("a", "b"), ("same", "same")])
def test_an_open_row_has_no_outcome_be_its_answers_equal_or_not(answers):
    verdicts = [named("r", model, None, "open") for model in ("tuned", "base")]
    questions = asked("r", *answers)
    assert [one.id for one in in_both_orders(questions, identical=True)] == ["r", "r"]
    [found] = settle(questions, verdicts)
    assert (found.status, found.outcome, found.identical) == ("open", None, False)
    won = pair_verdict(1, "win", "c1")
    figures = summarise_figures([found, won], resamples=100, seed=1)
    assert (figures["rows"], figures["open"], figures["ties"], figures["clusters"]) == (2, 1, 0, 1)
    assert (figures["win_rate"].mean, figures["win_rate"].bounds.low, figures["win_rate"].bounds.high) == (1, 1, 1)
    require_outcomes([found, won], max_invalid=0)
    assert summarise_figures([won], resamples=100, seed=1)["open"] is None


def test_a_summary_of_pairs_by_hand():
    """Two wins, a loss, a tie that is consistent, one that is not, an identical pair, and one without a verdict."""
    rows = [pair_verdict(index, outcome, f"c{index}") for index, outcome in enumerate(["win", "win", "loss", "tie"])]
    rows[1] = rows[1].model_copy(update={"cluster": "c0"})
    rows.append(pair_verdict(4, "tie", "c4").model_copy(update={"tuned_first": "tuned", "base_first": "base"}))
    rows.append(pair_verdict(5, "tie", "c5").model_copy(update={"identical": True}))
    lost = {"status": "failed", "outcome": None, "tuned_first": None, "base_first": "base"}
    rows.append(pair_verdict(6, "tie", "c6").model_copy(update=lost))
    found = summary(rows, resamples=100, seed=1)
    assert (found.rows, found.wins, found.ties, found.losses, found.invalid, found.failed) == (7, 2, 3, 1, 0, 1)
    assert (found.identical, found.inconsistent, found.clusters) == (1, 1, 5)
    assert found.consistency == 0.8  # four of the five that were asked about
    # Positions: each win and loss once first and once second, the inconsistent pair first twice: 5 of 8.
    assert found.first_position_share == 0.625
    assert found.win_rate.mean == 0.5833  # 2 wins and 3 halves of 6
    assert (found.win_rate.bounds.low, found.win_rate.bounds.high) == (0.5, 0.6429)  # 3.5 / 7 and 4.5 / 7


def test_an_invalid_pair_is_counted_as_one():
    row = pair_verdict(0, "tie", "c0").model_copy(update={"status": "invalid", "outcome": None})
    found = summary([row], resamples=100, seed=1)
    assert (found.invalid, found.failed, found.win_rate.mean, found.clusters) == (1, 0, None, 0)
    assert (found.win_rate.bounds.low, found.win_rate.bounds.high) == (0.0, 1.0)
