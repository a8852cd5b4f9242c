"""The comparisons of runs with the first one, and how they are written as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from stages.common.metrics.judge import FaultCount, JudgeIdentity
from stages.common.records import Metrics, ModelName
from stages.common.results.judge import Verdict
from stages.judge.runs.comparison import Comparison, compare, holm
from stages.judge.runs.sources import Run
from stages.judge.scores.faults import points_lost
from stages.judge.scores.figures import rounded

#: Decimal places in the JSON file.
PLACES = 6


class FaultCost(Metrics):
    """What one fault costs a run: ``n`` answers with it, and the points that its mean loses by them."""

    n: int
    points_lost: float


class FaultCosts(Metrics):
    """What one fault costs the runs A and B."""

    a: FaultCost
    b: FaultCost


@dataclass(frozen=True)
class RunsCompared:
    """Run B beside run A.

    Attributes:
        a: run A.
        b: run B.
        comparison: their scores compared.
        faults: what each fault costs either, the largest change first.
        identical: whether one judge gave both the same verdicts: score, detail and faults of every answer.
    """

    a: Run
    b: Run
    comparison: Comparison
    faults: dict[str, FaultCosts]
    identical: bool

    @property
    def same_judge(self) -> bool:
        """Whether one judge gave both runs' scores."""
        return self.a.judge == self.b.judge


def compare_runs(runs: Sequence[Run], *, model: ModelName, resamples: int, seed: int) -> list[RunsCompared]:
    """Compare the first run with each of the others, with Holm's correction over all of them.

    Args:
        runs: at least two runs.
        model: the model whose answers are compared.
        resamples: number of resamples of the bootstrap and of the permutation test.
        seed: seed of both.

    Raises:
        ConfigError: a run has no verdicts on this model.
    """
    first, *others = runs
    a = first.of(model)
    found = [compare(a, run.of(model), resamples=resamples, seed=seed, together=len(others)) for run in others]
    corrected = holm([one.p for one in found])
    return [
        RunsCompared(
            first,
            run,
            one.model_copy(update={"p_holm": p}),
            faults_beside(a, run.of(model)),
            first.judge == run.judge and _by_row(a) == _by_row(run.of(model)),
        )
        for run, one, p in zip(others, found, corrected, strict=True)
    ]


def _by_row(verdicts: Sequence[Verdict]) -> dict[str, Verdict]:
    return {verdict.id: verdict for verdict in verdicts}


def faults_beside(a: Sequence[Verdict], b: Sequence[Verdict]) -> dict[str, FaultCosts]:
    """What each fault costs either run, by fault, the largest change of the cost first."""
    of_a, of_b = points_lost(a, {}), points_lost(b, {})
    costs = {name: FaultCosts(a=_cost(of_a.get(name)), b=_cost(of_b.get(name))) for name in sorted(of_a | of_b)}

    def change(name: str) -> float:
        return -abs(costs[name].b.points_lost - costs[name].a.points_lost)

    return {name: costs[name] for name in sorted(costs, key=change)}


def _cost(found: FaultCount | None) -> FaultCost:
    if found is None:
        return FaultCost(n=0, points_lost=0.0)
    return FaultCost(n=found.n, points_lost=found.points_lost)


class ComparedRun(Metrics):
    """A run of the comparison."""

    name: str
    judge: JudgeIdentity


class ComparisonEntry(Metrics):
    """One of the comparisons; in the file the fields of ``comparison`` stand among the others."""

    b: ComparedRun
    same_judge: bool
    verdict: str
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
            b=ComparedRun(name=one.b.name, judge=one.b.judge),
            same_judge=one.same_judge,
            verdict=one.comparison.verdict,
            comparison=rounded(one.comparison, PLACES),
            faults=one.faults,
        )
        for one in found
    ]
    return ComparisonFile(a=ComparedRun(name=found[0].a.name, judge=found[0].a.judge), model=model, comparisons=entries)
