"""The verdict on two groups of runs: whether one recipe is better than another, and what that rests on.

`decide` is the one function by which anything in this project says of scores that a run is better, and `basis_of_two`
the one by which that may be said of answers side by side. It is said only where training seeds are allowed for: by
several trainings that are known of either recipe, or as both answers are of one and the same training. Elsewhere it is
said which run scores higher, and why no more is known: by its rows alone one of two trainings of one recipe was
"better" in 4 of 15 pairs of real runs. Where one recipe has a single training, the other's
seeds do not show how much its own would vary: with standard deviations of 1 and 6 a test that takes them to vary alike
found a difference in up to 47 % of simulated comparisons without one. Of runs that are known to be of one recipe it
is never said.

The test is chosen by what is compared, before any score is seen, and is the same for one comparison and for several:
Student's t over seeds and instructions where seeds are allowed for, and otherwise the permutation test over
instructions. Interval, p-value and the detectable difference are those of this test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from stages.common.errors import ConfigError
from stages.common.records import ModelName
from stages.common.results.judge import Verdict
from stages.judge.runs.comparison import (
    BOUNDS,
    NOT_COMPARABLE,
    POWER,
    TEST_OF_SEEDS,
    Basis,
    Comparison,
    SeedNoise,
    compare_all,
    scores_on,
)
from stages.judge.runs.group import Group
from stages.judge.runs.sources import Run
from stages.judge.scores.bootstrap import LEAST
from stages.judge.scores.two_level import LEAST_FREEDOM, Estimate, Seeds, difference, seeds_of


def decide(a: Group, b: Group, *, model: ModelName, resamples: int, seed: int, together: int = 1) -> Comparison:
    """Compare group B with group A, and say what the result rests on.

    Args:
        a: group A.
        b: group B.
        model: the model whose answers are compared.
        resamples: number of resamples of the bootstrap and of the permutation test.
        seed: seed of both.
        together: number of comparisons that are made together; the caller corrects ``p_holm`` with `comparison.holm`.

    Raises:
        ConfigError: a run has no verdicts on this model, or none with a score.
    """
    _require_scores(a, b, model)
    of_a, of_b = ([run.of(model) for run in group.runs] for group in (a, b))
    rows = compare_all(of_a, of_b, resamples=resamples, seed=seed, together=together)
    basis = _without_seeds(a, b, model)
    nothing: dict[str, object] = {"low": None, "high": None, "p": None, "p_holm": None, "detectable": None}
    if rows.of_other_rows:
        # The built-in judge reads the train rows: with other data it has read others, and is no other judge for that.
        by_data = all(run.judge.differs_by_data_alone(a.runs[0].judge) for run in b.runs)
        basis = "other test rows, two judges" if basis == "two judges" and not by_data else "other test rows"
        nothing |= dict.fromkeys(("mean_a", "mean_b", "difference", "right_of", "right_a", "right_b"))
    if basis in NOT_COMPARABLE:
        return rows.model_copy(update={"basis": basis, "method": f"none: {basis}", **nothing})
    if basis is not None:
        return rows.model_copy(update={"basis": basis})
    seeds = _seeds(a, b, model)
    if seeds is not None:
        rows = _two_level(rows, of_a, of_b, seeds, together=together)
    return rows.model_copy(update={"basis": _basis(a, b, seeds)})


def _require_scores(a: Group, b: Group, model: ModelName) -> None:
    """Refuse a run that has nothing to compare: a comparison without a score would look like one without a difference.

    Raises:
        ConfigError: a run has no verdict on this model with a score.
    """
    for run in (*a.runs, *b.runs):
        verdicts = run.of(model)
        if all(verdict.score is None for verdict in verdicts):
            counts = Counter(verdict.status for verdict in verdicts)
            found = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
            what = f"{run.name}: expected verdicts with a score on the model {model}, found none: {found}"
            raise ConfigError(what, "dvc repro --force judge, there, with a judge that gives scores")


def _without_seeds(a: Group, b: Group, model: ModelName) -> Basis | None:
    """What the comparison rests on where training seeds play no part; None where they do."""
    if not all(run.judge.is_same(a.runs[0].judge) for run in b.runs):
        return "two judges"
    return _of_one_model((*a.runs, *b.runs), model)


def _of_one_model(runs: Sequence[Run], model: ModelName) -> Basis | None:
    """What a comparison rests on in which all runs answer with one and the same model; None in any other."""
    if model == "base":
        return "no training"
    models = {run.model for run in runs}
    return "one training" if len(models) == 1 and "" not in models else None


def basis_of_two(a: Run, b: Run, model: ModelName) -> Basis:
    """What a comparison of two single runs' answers rests on, in which the scores that they have play no part.

    Args:
        a: run A.
        b: run B.
        model: the model whose answers are compared.
    """
    if (found := _of_one_model((a, b), model)) is not None:
        return found
    return "one recipe" if a.recipe is not None and a.recipe == b.recipe else "seeds unknown"


def _basis(a: Group, b: Group, seeds: Seeds | tuple[Seeds, Seeds] | None) -> Basis:
    """What the comparison rests on where training seeds play a part."""
    if a.recipe is not None and a.recipe == b.recipe:
        return "one recipe"  # it cannot be better than itself, whatever a test finds
    if seeds is None:
        return "seeds unknown"
    if isinstance(seeds, Seeds):
        return "seeds of one recipe"  # they do not show how much the other one's trainings vary
    return "trainings" if len(a.runs) > 1 and len(b.runs) > 1 else "known seeds"


def _seeds(a: Group, b: Group, model: ModelName) -> Seeds | tuple[Seeds, Seeds] | None:
    """The noise of training seeds: of either recipe, where both have several trainings, else of all that are known.

    Of one recipe there is one noise, and its trainings count once.
    """
    pools = [list(a.trainings()), list(b.trainings())]
    if a.recipe is not None and a.recipe == b.recipe:
        known = {run.seed for run in (*a.runs, *b.runs)}
        others = {run.seed: run for run in (*a.known, *b.known) if run.seed not in known}
        # Two groups of one recipe are compared as two: each has a mean of its own.
        pools = [list(a.runs), list(b.runs), list(others.values())]
    else:
        each = [seeds_of([found]) for pool in pools if (found := _on_common_rows(pool, model)) is not None]
        if len(each) == 2 and each[0] is not None and each[1] is not None:
            return each[0], each[1]
    return seeds_of([found for pool in pools if (found := _on_common_rows(pool, model)) is not None])


def _on_common_rows(pool: Sequence[Run], model: ModelName) -> tuple[np.ndarray, list[str]] | None:
    """The scores of trainings on the rows that all of them have, [trainings, rows], and the rows' instructions."""
    if len(pool) < 2:
        return None
    return scores_on([[verdict for verdict in run.verdicts if verdict.model == model] for run in pool])


def _two_level(
    rows: Comparison,
    a: Sequence[Sequence[Verdict]],
    b: Sequence[Sequence[Verdict]],
    seeds: Seeds | tuple[Seeds, Seeds],
    *,
    together: int,
) -> Comparison:
    """The comparison with interval and p-value that allow for seeds and instructions; arguments as in `decide`."""
    noise = SeedNoise.of(seeds)
    nothing = {"low": None, "high": None, "p": None, "p_holm": None, "detectable": None, "seeds": noise}
    if rows.clusters < LEAST:
        return rows.model_copy(update=nothing | {"method": f"none: {rows.clusters} of the {LEAST} instructions"})
    scores, clusters = scores_on([*a, *b])
    found = difference(scores[: len(a)], scores[len(a) :], clusters, seeds)
    if found is None:
        return rows.model_copy(update={"seeds": noise})
    low, high = found.interval(BOUNDS)
    return rows.model_copy(
        update={
            "low": low,
            "high": high,
            "method": found.method,
            "p": found.p(),
            "p_holm": found.p(),
            "test": TEST_OF_SEEDS,
            "detectable": _detectable(found, seeds, together),
            "seeds": noise,
        }
    )


def _detectable(found: Estimate, seeds: Seeds | tuple[Seeds, Seeds], together: int) -> float | None:
    """The difference that would be found about 3 times in 4; None where too little is known of the noise of seeds."""
    each = seeds if isinstance(seeds, tuple) else (seeds,)
    if any(one.freedom < LEAST_FREEDOM for one in each):
        return None
    return found.detectable(POWER, together)
