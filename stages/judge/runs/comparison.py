"""Whether one group of runs' answers are better than another's: paired on the same rows, clustered by instruction.

Rows that share an instruction are not independent of one another. So the bootstrap draws whole instructions, and the
permutation test exchanges the answers of whole instructions (arXiv 2411.00640 says why, and why pairs). Where no row
differs there is nothing to test. Where all instructions differ by the same number there is no variance, from which the
detectable difference would follow.

What is here allows for the instructions alone. `stages.judge.runs.verdict` allows for training seeds too.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stages.common.plurals import counted
from stages.common.records import Metrics
from stages.common.results.judge import Verdict
from stages.judge.scores.bootstrap import EQUAL, LEAST, LEVEL, blocks, by_cluster, mean_interval, standard_error, z
from stages.judge.scores.figures import cluster_of
from stages.judge.scores.two_level import Seeds

#: The power that the minimum detectable difference is computed for. Few trainings know little of their own noise, so
#: that 69 to 83 % of simulated comparisons found it: "about 3 times in 4" is what is said of it.
POWER = 0.8
#: The widest differences of two scores.
BOUNDS = (-100.0, 100.0)
#: Up to so many clusters every combination of exchanges is tried, and the p-value is exact.
MOST_EXACT = 14

#: What a comparison rests on.
#:   rows: on rows alone, as nothing was asked of the trainings.
#:   no training: the answers are of models before fine-tuning.
#:   one training: both sides answer with one and the same fine-tuned model.
#:   trainings: there are several on either side.
#:   known seeds: other trainings of both recipes show how much seeds do.
#:   seeds of one recipe: those of one recipe do. The other has a single training, and nobody knows how much it varies.
#:   seeds unknown: training seeds are not allowed for.
#:   one recipe: the runs differ in their seeds alone.
#:   two judges: the scores cannot be compared.
#:   other test rows: nor can those of rows of which too few are in both; the last is both.
Basis = Literal[
    "rows",
    "no training",
    "one training",
    "trainings",
    "known seeds",
    "seeds of one recipe",
    "seeds unknown",
    "one recipe",
    "two judges",
    "other test rows",
    "other test rows, two judges",
]
#: On these, a difference of two models is none of two recipes.
_NOT_OF_RECIPES = frozenset({"seeds of one recipe", "seeds unknown", "one recipe"})

#: What a comparison rests on, in words, where that takes no number.
IN_WORDS: dict[Basis, str] = {
    "rows": "",
    "no training": "the models before fine-tuning, in which no training seed plays a part",
    "one training": "one and the same training, so that its seed plays no part",
    "seeds unknown": "one training each: training seeds are not allowed for",
    "one recipe": "both are of one recipe: only training seeds differ",
    "two judges": "",
}
#: What is said where there is no winner, whatever the scores.
NOT_COMPARABLE: dict[Basis, str] = {
    "two judges": "not comparable: two judges",
    "other test rows": "not comparable: other test rows",
    "other test rows, two judges": "not comparable: other test rows, and two judges",
}
#: Runs that share less than this part of the rows of the one with fewer are of other rows, unless they share enough
#: instructions for an interval.
SHARED = 0.5

#: The two tests.
TEST_OF_ROWS = "permutation test"
TEST_OF_SEEDS = "Student's t over seeds and instructions"

TOO_FEW = "too few rows to compare"
IDENTICAL = "identical scores"
NO_DIFFERENCE = "no detectable difference"


class SeedNoise(Metrics):
    """How much trainings of one recipe differ, in points.

    Args:
        sd: standard deviation of their mean scores, on the same rows.
        sd_beyond_rows: the same on all possible rows: without what comes from these rows.
        trainings: number of trainings that show it.
        freedom: this number less one for each recipe.
        sd_a: standard deviation of A's trainings alone, where either recipe has several; None where A and B are taken
            to vary alike.
        sd_b: that of B's.
    """

    sd: float
    sd_beyond_rows: float
    trainings: int
    freedom: int
    sd_a: float | None = None
    sd_b: float | None = None

    @classmethod
    def of(cls, seeds: Seeds | tuple[Seeds, Seeds]) -> SeedNoise:
        """The figures of the noise of training seeds; of two recipes those of both together, and of each."""
        if isinstance(seeds, tuple):
            a, b = seeds
            found = cls.of(a.together(b))
            return found.model_copy(update={"sd_a": a.variance**0.5, "sd_b": b.variance**0.5})
        return cls(
            sd=seeds.variance**0.5,
            sd_beyond_rows=seeds.beyond_rows**0.5,
            trainings=seeds.trainings,
            freedom=seeds.freedom,
        )


class Comparison(Metrics):
    """B against A, in points of the score; what too few rows cannot say is None.

    Of several trainings the score of a row is their mean.

    Args:
        basis: what it rests on.
        trainings_a: runs of A.
        trainings_b: runs of B.
        n: rows scored in all runs.
        left_out: rows in all runs that lack a score in one of them.
        another_row: ids that all have, but for rows of different instructions; these rows are left out.
        only_in_a: rows of A that not all runs have.
        only_in_b: rows of B that not all runs have.
        clusters: different instructions among the rows.
        mean_a: mean of A on these rows.
        mean_b: mean of B on these rows.
        difference: mean of B minus A.
        low: lower end of the difference's 95 % interval, over instructions alone
            (`stages.judge.scores.bootstrap.mean_interval`), or over training seeds too
            (`stages.judge.scores.two_level.Difference`).
        high: upper end of this interval.
        method: how the interval was made, or why there is none.
        p: two-sided p-value.
        test: the test of ``p`` and ``detectable``: the permutation test, which exchanges the two runs' answers of whole
            clusters, or Student's t over seeds and instructions, where training seeds are allowed for.
        p_holm: p-value after Holm's correction over all comparisons made together.
        detectable: the smallest true difference that so many rows and trainings would find about 3 times in 4,
            at 5 % divided by the number of comparisons made together; None where the differences have no variance,
            where the seeds of a recipe are known by fewer than four trainings, and
            where even the smallest possible p-value is larger than that.
        seeds: how much trainings of one recipe differ, where that is known.
        wins: rows on which B is better.
        ties: rows on which both have the same score.
        losses: rows on which A is better.
        right_of: rows of which the judge says in all runs whether the answer is right; None where it never does.
        right_a: right answers of A among these, the mean of its runs.
        right_b: right answers of B among these, the mean of its runs.
    """

    basis: Basis
    trainings_a: int
    trainings_b: int
    n: int
    left_out: int
    another_row: tuple[str, ...]
    only_in_a: int
    only_in_b: int
    clusters: int
    mean_a: float | None
    mean_b: float | None
    difference: float | None
    low: float | None
    high: float | None
    method: str | None
    p: float | None
    test: str
    p_holm: float | None
    detectable: float | None
    seeds: SeedNoise | None
    wins: int
    ties: int
    losses: int
    right_of: int | None = None
    right_a: float | None = None
    right_b: float | None = None

    @property
    def shared(self) -> int:
        """Rows that all runs have, with a score or without one."""
        return self.n + self.left_out

    @property
    def of_other_rows(self) -> bool:
        """Whether too few rows are in all runs for their scores to be compared."""
        fewer = self.shared + len(self.another_row) + min(self.only_in_a, self.only_in_b)
        return self.shared < SHARED * fewer and self.clusters < LEAST

    @property
    def verdict(self) -> str:
        """What may be said: by Holm's p-value, so that many comparisons do not find something by chance."""
        if self.basis in NOT_COMPARABLE:
            return NOT_COMPARABLE[self.basis]
        if self.p_holm is None or self.difference is None:
            return TOO_FEW
        if self.ties == self.n:
            return IDENTICAL
        if self.p_holm > 1 - LEVEL:
            return NO_DIFFERENCE
        higher = "B" if self.difference > 0 else "A"
        return f"{higher} scores higher" if self.basis in _NOT_OF_RECIPES else f"{higher} is better"

    @property
    def rests_on(self) -> str:
        """What the verdict rests on, in words; an empty text where the rows are all."""
        if self.basis in NOT_COMPARABLE and self.basis != "two judges":
            each = f"{self.only_in_a:,} in A alone, {self.only_in_b:,} in B alone"
            another = f", {len(self.another_row):,} of another instruction" if self.another_row else ""
            return f"{counted(self.shared, 'row is', 'rows are')} in both, {each}{another}"
        of_both = f"{self.trainings_a} and {counted(self.trainings_b, 'training')}"
        known = self.seeds.trainings if self.seeds else 0
        with_numbers: dict[Basis, str] = {
            "trainings": f"it rests on {of_both}, and allows for training seeds and for rows",
            "known seeds": f"it allows for rows and for training seeds, as {known} trainings show them",
            "seeds of one recipe": (
                f"a single training of one recipe: training seeds are allowed for as {known} trainings of the other "
                "show them, if both recipes vary alike"
            ),
        }
        return (IN_WORDS | with_numbers)[self.basis]


def compare(
    a: Sequence[Verdict], b: Sequence[Verdict], *, resamples: int = 10_000, seed: int = 123, together: int = 1
) -> Comparison:
    """Compare the verdicts of two runs on the rows that both have, by id; arguments as in `compare_all`.

    A verdict without an instruction is taken to be of the row with its id.
    """
    return compare_all([a], [b], resamples=resamples, seed=seed, together=together)


def _known_right(runs: Sequence[Sequence[Verdict]]) -> np.ndarray:
    """Whether each answer is right, bool [runs, rows], of the rows of which the judge says so in all runs."""
    known = [
        {(verdict.id, cluster_of(verdict)): verdict.right for verdict in run if verdict.right is not None}
        for run in runs
    ]
    rows = [row for row in known[0] if all(row in run for run in known)]
    return np.array([[run[row] for row in rows] for run in known], dtype=bool)


def compare_all(
    a: Sequence[Sequence[Verdict]], b: Sequence[Sequence[Verdict]], *, resamples: int, seed: int, together: int
) -> Comparison:
    """Compare the verdicts of two groups of runs on the rows that all of them have, by id; allows for rows alone.

    Args:
        a: verdicts of each run of A, one a row.
        b: verdicts of each run of B.
        resamples: number of resamples of the bootstrap and of the permutation test.
        seed: seed of both.
        together: number of comparisons that are made together, which the detectable difference has to allow for. The
            caller corrects ``p_holm`` with `holm`.
    """
    shared = _Shared.of([*a, *b])
    right = _known_right([*a, *b])
    scores, clusters = shared.scores, shared.clusters
    first, second = scores[: len(a)].mean(axis=0), scores[len(a) :].mean(axis=0)
    differences = second - first
    sums, sizes = by_cluster(differences, clusters)
    ends = mean_interval(differences, clusters, bounds=BOUNDS, resamples=resamples, seed=seed)
    p = permutation_p(sums, resamples=resamples, seed=seed)
    return Comparison(
        basis="rows",
        trainings_a=len(a),
        trainings_b=len(b),
        n=len(clusters),
        left_out=shared.left_out,
        another_row=shared.another_row,
        only_in_a=shared.beyond(a),
        only_in_b=shared.beyond(b),
        clusters=len(sums),
        mean_a=float(first.mean()) if len(clusters) else None,
        mean_b=float(second.mean()) if len(clusters) else None,
        difference=float(differences.mean()) if len(clusters) else None,
        low=ends.low,
        high=ends.high,
        method=ends.method,
        p=p,
        test=TEST_OF_ROWS,
        p_holm=p,
        detectable=_detectable(sums, sizes, together),
        seeds=None,
        wins=int((differences > EQUAL).sum()),
        ties=int((np.abs(differences) <= EQUAL).sum()),
        losses=int((differences < -EQUAL).sum()),
        right_of=right.shape[1] or None,
        right_a=float(right[: len(a)].sum(axis=1).mean()) if right.shape[1] else None,
        right_b=float(right[len(a) :].sum(axis=1).mean()) if right.shape[1] else None,
    )


def _detectable(sums: np.ndarray, sizes: np.ndarray, together: int) -> float | None:
    """The difference that the permutation test finds with `POWER`; None where no noise is seen, or nothing is found.

    Args:
        sums: sum of the differences in each instruction, [instructions].
        sizes: number of its rows, [instructions].
        together: number of comparisons that are made together.
    """
    error = standard_error(sums, sizes)
    # Equal differences in all instructions show nothing of how much others would differ.
    if error is None or error <= EQUAL:
        return None
    bar = (1 - LEVEL) / together
    if 2.0 ** (1 - len(sums)) > bar:
        return None  # not even a difference that all instructions share would be found
    return (z(1 - bar / 2) + z(POWER)) * error


def scores_on(runs: Sequence[Sequence[Verdict]]) -> tuple[np.ndarray, list[str]]:
    """The scores of runs on the rows that all of them have scored, float64 [runs, rows], and the rows' instructions."""
    shared = _Shared.of(runs)
    return shared.scores, shared.clusters


@dataclass(frozen=True)
class _Shared:
    """The rows that several runs have.

    Attributes:
        ids: ids that all runs have.
        scores: scores on those rows that all runs have scored and that mean one instruction, float64 [runs, rows].
        clusters: what a resample draws these rows with, [rows].
        left_out: rows that all runs have and that lack a score in one of them.
        another_row: ids that all have, but for rows of different instructions.
    """

    ids: frozenset[str]
    scores: np.ndarray
    clusters: list[str]
    left_out: int
    another_row: tuple[str, ...]

    @classmethod
    def of(cls, runs: Sequence[Sequence[Verdict]]) -> _Shared:
        by_id = [{verdict.id: verdict for verdict in run} for run in runs]
        rows = [[one[key] for one in by_id] for key in by_id[-1] if all(key in one for one in by_id)]
        another = {row[0].id for row in rows if len({verdict.cluster for verdict in row if verdict.cluster}) > 1}
        one_row = [row for row in rows if row[0].id not in another]
        scored = [row for row in one_row if all(verdict.score is not None for verdict in row)]
        scores = np.array([[verdict.score for verdict in row] for row in scored], dtype=np.float64)
        return cls(
            ids=frozenset(row[0].id for row in rows),
            scores=scores.reshape(len(scored), len(runs)).T,
            clusters=[cluster_of(row[-1]) for row in scored],
            left_out=len(one_row) - len(scored),
            another_row=tuple(sorted(another)),
        )

    def beyond(self, runs: Sequence[Sequence[Verdict]]) -> int:
        """The number of rows of some runs that not all runs have."""
        return len({verdict.id for run in runs for verdict in run} - self.ids)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (1979) of p-values of comparisons made together; None stays None.

    With 0.01, 0.04 and 0.03 it gives 3 x 0.01 = 0.03, then 2 x 0.03 = 0.06 for 0.03, and 0.06 again for 0.04.
    """
    order = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, (p, index) in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * p))
        corrected[index] = least
    return corrected


def permutation_p(sums: np.ndarray, *, resamples: int, seed: int) -> float | None:
    """The two-sided p-value of the hypothesis that exchanging A and B in any cluster would change nothing.

    It is exact with up to `MOST_EXACT` clusters. Beyond, it is (1 + resamples at least as extreme) / (1 + resamples),
    which is never 0.

    Args:
        sums: sum of the differences in each cluster, float64 [clusters].
        resamples: number of random exchanges beyond `MOST_EXACT` clusters.
        seed: seed of these.
    """
    count = len(sums)
    if count < 2:
        return None
    observed = abs(sums.sum()) - EQUAL
    if count <= MOST_EXACT:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=count)))
        return float((np.abs(signs @ sums) >= observed).mean())
    random = np.random.default_rng(seed)
    extreme = 0
    for number in blocks(resamples, count):
        signs = 2.0 * random.integers(0, 2, (number, count)) - 1
        extreme += int((np.abs(signs @ sums) >= observed).sum())
    return (1 + extreme) / (1 + resamples)
