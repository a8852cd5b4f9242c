"""Whether a candidate takes the champion's place: only by the test that allows for training seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.common.metrics.judge import JudgeIdentity
from stages.common.results.judge import Verdict
from stages.judge.runs import promotion
from stages.judge.runs.group import Group
from stages.judge.runs.sources import Run

JUDGE = JudgeIdentity(fingerprint="1" * 32, backend="reference")
ROWS = 40
INPUTS = {"generate": {Path("artifacts/split/test.jsonl"): "7e57" * 8}}


def training(seed: int, scores: Any, *, epochs: int, style: str = "alpaca") -> Run:
    verdicts = [
        Verdict(id=f"r{row}", model="tuned", status="scored", score=float(score), detail="", cluster=f"c{row}")
        for row, score in enumerate(scores)
    ]
    sections: dict[str, Any] = {name: {"a": 1} for name in ("download", "split", "generate")}
    values = {**sections, "tokenize": {"prompt_style": style}, "finetune": {"seed": seed, "epochs": epochs}}
    return Run(f"seed {seed}", JUDGE, verdicts, values, inputs=INPUTS)


def group(mean: float, *, epochs: int, draws: np.random.Generator, trainings: int = 5, sd: float = 2.0) -> Group:
    """Trainings of a recipe whose means vary with the seed, on rows that vary by themselves."""
    rows = np.random.default_rng(0).normal(0, 10, ROWS)
    runs = [
        training(seed, 50 + mean + rows + draws.normal(0, sd) + draws.normal(0, 5, ROWS), epochs=epochs)
        for seed in range(trainings)
    ]
    return Group(f"{epochs} epochs", tuple(runs))


def decided(champion: Group, candidate: Group) -> promotion.Decision:
    return promotion.decide(champion, candidate, resamples=100, seed=1)


def test_a_better_recipe_takes_the_place_and_a_worse_one_does_not() -> None:
    draws = np.random.default_rng(1)
    worse, better = group(0, epochs=1, draws=draws), group(15, epochs=2, draws=draws)
    found = decided(worse, better)
    assert (found.moves, found.why) == (
        True,
        "the candidate is better; it rests on 5 and 5 trainings, and allows for training seeds and for rows",
    )
    back = decided(better, worse)
    assert not back.moves
    assert back.why.startswith("the champion is better; it rests on 5 and 5 trainings")


def test_a_single_training_takes_no_place_however_high_it_scores() -> None:
    draws = np.random.default_rng(1)
    champion = group(0, epochs=1, draws=draws)
    for trainings in (1, 5):
        candidate = group(30, epochs=2, draws=draws, trainings=1)
        found = decided(Group("a", champion.runs[:trainings]), candidate)
        assert not found.moves
        assert found.why.startswith("the candidate scores higher; ")


def test_another_recipe_s_name_is_needed_too() -> None:
    draws = np.random.default_rng(1)
    low, high = group(0, epochs=1, draws=draws), group(30, epochs=1, draws=draws)
    assert not decided(low, high).moves
    assert "both are of one recipe" in decided(low, high).why


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda run: replace(run, inputs={"generate": {Path("artifacts/split/test.jsonl"): "0" * 32}}),
            "they cannot be compared, since their test rows differ by MD5 (champion 7e577e5, candidate 0000000)",
        ),
        (
            lambda run: replace(run, inputs={}),
            "they cannot be compared, since the test rows of the candidate are not known",
        ),
        (
            lambda run: replace(run, values={**run.values, "tokenize": {"prompt_style": "phi3"}}),
            "they cannot be compared, since their prompt styles differ (champion alpaca, candidate phi3)",
        ),
        (
            lambda run: replace(run, judge=JUDGE.model_copy(update={"fingerprint": "2" * 32})),
            "they cannot be compared, since their judges differ (champion built-in reference judge, fingerprint "
            "1111111; candidate built-in reference judge, fingerprint 2222222)",
        ),
    ],
)
def test_what_cannot_be_compared_takes_no_place(change: Any, why: str) -> None:
    draws = np.random.default_rng(1)
    champion, candidate = group(0, epochs=1, draws=draws), group(30, epochs=2, draws=draws)
    changed = Group("b", tuple(change(run) for run in candidate.runs))
    found = decided(champion, changed)
    assert (found.moves, found.why, found.compared) == (False, why, None)


@pytest.mark.thorough
@pytest.mark.parametrize(("trainings", "sd"), [(5, 0.0), (5, 4.0), (3, 4.0)])
def test_of_two_groups_of_one_recipe_one_takes_the_place_in_five_percent_at_most(trainings: int, sd: float) -> None:
    """Both draw from one distribution, as two groups of one recipe do; their recipes are told apart by name alone."""
    cases = 300
    draws = np.random.default_rng(2026)
    moved = sum(
        decided(
            group(0, epochs=1, draws=draws, trainings=trainings, sd=sd),
            group(0, epochs=2, draws=draws, trainings=trainings, sd=sd),
        ).moves
        for _ in range(cases)
    )
    assert moved <= cases * 0.05


@pytest.mark.thorough
def test_the_higher_mean_alone_would_move_in_half_of_the_cases() -> None:
    """The same simulation sees a rule that does not allow for chance."""
    draws = np.random.default_rng(2026)
    moved = 0
    for _ in range(200):
        a, b = (group(0, epochs=epochs, draws=draws) for epochs in (1, 2))
        means = [np.mean([verdict.score for run in one.runs for verdict in run.verdicts]) for one in (a, b)]
        moved += bool(means[1] > means[0])
    assert moved > 60
