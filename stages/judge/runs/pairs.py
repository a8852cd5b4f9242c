"""The answers of two runs side by side: how often each is the better one, and whether that is more than chance.

The answers of run A stand where the stage judge has those of its base model, and those of run B where it has the tuned
model's: the questions, both orders, ties and the win rate are those of `stages.judge.scores.pairwise`. So a pair of
answers that any run of the stage has asked about is not asked about again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from stages.common.metrics.judge import SideBySide
from stages.common.records import Metrics, ModelName
from stages.common.results.judge import PairVerdict
from stages.judge.runs.comparison import IN_WORDS, NO_DIFFERENCE, TOO_FEW, Basis, holm, permutation_p
from stages.judge.runs.sources import Run
from stages.judge.runs.verdict import basis_of_two
from stages.judge.scores.bootstrap import LEVEL, by_cluster
from stages.judge.scores.pairwise import clusters_of_pairs, summarise_figures, worth_of

#: What a win rate is where no answer is better.
EVEN = 0.5

ALL_TIES = "no answer of either is better"
IDENTICAL = "identical answers"
#: What a comparison rests on where training seeds play no part, so that one model may be called better.
OF_MODELS: frozenset[Basis] = frozenset({"no training", "one training"})


class _Named(Metrics):
    """Two runs, and what a comparison of them rests on.

    Args:
        a: name of run A.
        b: name of run B.
        basis: what the verdict rests on, as in `stages.judge.runs.comparison.Comparison`.
    """

    a: str
    b: str
    basis: Basis


class Pair(SideBySide, _Named):
    """Run B against run A.

    Args:
        p: two-sided p-value of the permutation test, which exchanges the two runs' answers of whole instructions; None
            with fewer than two instructions.
        p_holm: p-value after Holm's correction over all pairs of runs that are compared together.
    """

    p: float | None
    p_holm: float | None

    @property
    def outcomes(self) -> int:
        """Rows with an outcome."""
        return self.wins + self.ties + self.losses

    def verdict(self, a: str, b: str) -> str:
        """What may be said, by Holm's p-value. Of two trainings neither is called better: seeds are not allowed for.

        Args:
            a: what to call run A.
            b: what to call run B.
        """
        if self.identical and self.identical == self.outcomes:
            return IDENTICAL
        if self.p_holm is None or self.win_rate.mean is None:
            return TOO_FEW
        if self.ties == self.outcomes:
            return ALL_TIES
        if self.p_holm > 1 - LEVEL:
            return NO_DIFFERENCE
        winner = b if self.win_rate.mean > EVEN else a
        return f"{winner} is better" if self.basis in OF_MODELS else f"{winner}'s answers are preferred"

    @property
    def rests_on(self) -> str:
        """What the verdict rests on, in words."""
        return IN_WORDS[self.basis]


def compared(a: Run, b: Run, verdicts: Sequence[PairVerdict], *, model: ModelName, resamples: int, seed: int) -> Pair:
    """The figures of two runs' answers side by side; ``p_holm`` is ``p`` until `corrected`.

    Args:
        a: run A.
        b: run B.
        verdicts: one verdict a row, A's answers being those of the base model.
        model: the model whose answers are compared.
        resamples: number of resamples of the bootstrap and of the permutation test.
        seed: seed of both.
    """
    figures = summarise_figures(verdicts, resamples=resamples, seed=seed)
    sums, _ = by_cluster(worth_of(verdicts) - EVEN, clusters_of_pairs(verdicts))
    p = permutation_p(sums, resamples=resamples, seed=seed)
    return Pair(a=a.name, b=b.name, basis=basis_of_two(a, b, model), **figures, p=p, p_holm=p)


def corrected(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with Holm's correction over all of them."""
    found = holm([pair.p for pair in pairs])
    return [pair.model_copy(update={"p_holm": p}) for pair, p in zip(pairs, found, strict=True)]


def wins_by_instruction(verdicts: Mapping[tuple[int, int], Sequence[PairVerdict]], runs: int) -> np.ndarray:
    """How often each run won against each other one on the rows of each instruction, a tie as half a win of either.

    Args:
        verdicts: one verdict a row for each pair of runs, by their indices; the first run's answers stand for the base
            model's.
        runs: number of runs.

    Returns:
        float64 [instructions, i, j]: wins of run i against run j. Instructions without an outcome are none of them.
    """
    clusters = sorted({one.cluster for found in verdicts.values() for one in found if one.outcome})
    place = {cluster: number for number, cluster in enumerate(clusters)}
    wins = np.zeros((len(clusters), runs, runs))
    for (a, b), found in verdicts.items():
        for cluster, worth in zip(clusters_of_pairs(found), worth_of(found), strict=True):
            wins[place[cluster], b, a] += worth
            wins[place[cluster], a, b] += 1 - worth
    return wins
