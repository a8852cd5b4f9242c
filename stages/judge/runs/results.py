"""The comparisons of runs with the first one, and how they are written as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from stages.common.metrics.judge import FaultCount, JudgeIdentity
from stages.common.records import Metrics, MetricsT, ModelName
from stages.common.results.judge import Verdict
from stages.judge.runs.comparison import Comparison, holm
from stages.judge.runs.group import Group
from stages.judge.runs.verdict import decide
from stages.judge.scores.faults import points_lost
from stages.judge.scores.figures import rounded

#: Decimal places in the JSON file.
PLACES = 6


class FaultCost(Metrics):
    """What one fault costs a group: ``n`` answers of a run with it, and the points that its mean loses by them."""

    n: float
    points_lost: float


class FaultCosts(Metrics):
    """What one fault costs the runs A and B."""

    a: FaultCost
    b: FaultCost


@dataclass(frozen=True)
class RunsCompared:
    """Group B beside group A.

    Attributes:
        a: group A.
        b: group B.
        comparison: their scores compared.
        faults: what each fault costs either, the largest change first.
        identical: whether both are single runs that one judge gave the same verdicts: score, detail and faults of
            every answer.
    """

    a: Group
    b: Group
    comparison: Comparison
    faults: dict[str, FaultCosts]
    identical: bool

    @property
    def same_judge(self) -> bool:
        """Whether one judge gave both groups' scores."""
        return self.a.runs[0].judge.is_same(self.b.runs[0].judge)


def compare_groups(groups: Sequence[Group], *, model: ModelName, resamples: int, seed: int) -> list[RunsCompared]:
    """Compare the first group with each of the others, with Holm's correction over all of them.

    Args:
        groups: at least two groups of one or several runs.
        model: the model whose answers are compared.
        resamples: number of resamples of the bootstrap and of the permutation test.
        seed: seed of both.

    Raises:
        ConfigError: a run has no verdicts on this model.
    """
    first, *others = groups
    found = [decide(first, one, model=model, resamples=resamples, seed=seed, together=len(others)) for one in others]
    corrected = holm([one.p for one in found])
    return [
        RunsCompared(
            first,
            group,
            one.model_copy(update={"p_holm": p}),
            faults_beside(first, group, model),
            _same_verdicts(first, group, model),
        )
        for group, one, p in zip(others, found, corrected, strict=True)
    ]


def _same_verdicts(a: Group, b: Group, model: ModelName) -> bool:
    """Whether one judge gave two single runs the same verdicts. Of several trainings only means are compared."""
    if len(a.runs) > 1 or len(b.runs) > 1:
        return False
    (first,), (second,) = a.runs, b.runs
    return first.judge.is_same(second.judge) and _by_row(first.of(model)) == _by_row(second.of(model))


def _by_row(verdicts: Sequence[Verdict]) -> dict[str, Verdict]:
    return {verdict.id: verdict for verdict in verdicts}


def faults_beside(a: Group, b: Group, model: ModelName) -> dict[str, FaultCosts]:
    """What each fault costs either group, by fault, the largest change of the cost first."""
    of_a, of_b = (points_lost([one for run in group.runs for one in run.of(model)], {}) for group in (a, b))
    costs = {
        name: FaultCosts(a=_cost(of_a.get(name), len(a.runs)), b=_cost(of_b.get(name), len(b.runs)))
        for name in sorted(of_a | of_b)
    }

    def change(name: str) -> float:
        return -abs(costs[name].b.points_lost - costs[name].a.points_lost)

    return {name: costs[name] for name in sorted(costs, key=change)}


def _cost(found: FaultCount | None, runs: int) -> FaultCost:
    if found is None:
        return FaultCost(n=0.0, points_lost=0.0)
    return FaultCost(n=found.n / runs, points_lost=found.points_lost)


class ComparedRun(Metrics):
    """A run, or a group of runs, of the comparison.

    Args:
        name: its name.
        judge: identity of the judge.
        runs: names of the runs.
        seeds: the seeds of their trainings, as far as they are known.
        known: names of the other trainings of the recipe that show how much seeds do.
    """

    name: str
    judge: JudgeIdentity
    runs: list[str]
    seeds: list[int]
    known: list[str]


class ComparisonEntry(Metrics):
    """One of the comparisons; in the file the fields of ``comparison`` stand among the others."""

    b: ComparedRun
    same_judge: bool
    verdict: str
    rests_on: str
    comparison: Comparison
    faults: dict[str, FaultCosts]

    @model_serializer(mode="wrap")
    def _flat(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for name, value in dump(self).items():
            flat |= value if name == "comparison" else {name: value}
        return flat


class ComparisonFile(Metrics):
    """What `--json` writes: the comparisons of the answers of ``model`` with those of run ``a``."""

    a: ComparedRun
    model: ModelName
    comparisons: list[ComparisonEntry]


def as_file(found: Sequence[RunsCompared], model: ModelName) -> ComparisonFile:
    """The comparisons as they are written, with their numbers rounded."""
    entries = [
        ComparisonEntry(
            b=_compared(one.b),
            same_judge=one.same_judge,
            verdict=one.comparison.verdict,
            rests_on=one.comparison.rests_on,
            comparison=written(one.comparison),
            faults=one.faults,
        )
        for one in found
    ]
    return ComparisonFile(a=_compared(found[0].a), model=model, comparisons=entries)


def _compared(group: Group) -> ComparedRun:
    return ComparedRun(
        name=group.name,
        judge=group.runs[0].judge,
        runs=[run.name for run in group.runs],
        seeds=group.seeds,
        known=[run.name for run in group.known],
    )


def written(found: MetricsT) -> MetricsT:
    """A comparison with its numbers rounded; ``p`` and ``p_holm`` are never 0, and not by rounding either."""
    short = rounded(found, PLACES)
    names = ("p", "p_holm")
    least = {name: 10.0**-PLACES for name in names if getattr(short, name) == 0}
    return short.model_copy(update=least)
