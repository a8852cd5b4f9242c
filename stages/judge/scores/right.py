"""How many answers are right, with intervals that hold for few rows and for rows that share an instruction.

A share of few answers is no mean of many scores: its bootstrap has no width where all are right or wrong. So the share
gets Wilson's interval (1927), and the difference of two models on the same rows that of Bonett and Price (2012,
doi 10.3102/1076998611411915), which counts a gained and a lost row more than there are. Rows that share an instruction
count for as many independent rows as their scatter says (Korn and Graubard 1998), and Student's quantile allows for few
instructions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stages.common.metrics.judge import Interval, Right, RightDifference
from stages.common.plurals import counted
from stages.common.results.judge import Verdict
from stages.judge.scores import figures
from stages.judge.scores.bootstrap import EQUAL, LEVEL, by_cluster, standard_error, t_quantile, too_few
from stages.judge.scores.figures import SHARES, cluster_of

#: The fewest instructions that have an interval: of one nothing is seen of the scatter.
FEWEST = 2


def right_answers(verdicts: Sequence[Verdict]) -> Right | None:
    """The right ones of a model's answers; None where the judge does not say which are right."""
    known = [(verdict.right, cluster_of(verdict)) for verdict in verdicts if verdict.right is not None]
    if not known:
        return None
    values = np.array([right for right, _ in known], dtype=np.float64)
    interval = wilson(values, [cluster for _, cluster in known])
    return Right(
        n=len(known),
        right=int(values.sum()),
        share=round(float(values.mean()), SHARES),
        interval=figures.rounded(interval, SHARES),
    )


def right_difference(tuned: Sequence[Verdict], base: Sequence[Verdict]) -> RightDifference | None:
    """How many more answers are right after fine-tuning than before, of the rows where both are known.

    None where the judge does not say which are right.
    """
    others = {verdict.id: verdict.right for verdict in base if verdict.right is not None}
    pairs = [(v.right, others[v.id], cluster_of(v)) for v in tuned if v.right is not None and v.id in others]
    if not pairs:
        return None
    differences = np.array([int(after) - int(before) for after, before, _ in pairs], dtype=np.float64)
    interval = bonett_price(differences, [cluster for _, _, cluster in pairs])
    return RightDifference(
        n=len(pairs),
        gained=int((differences > 0).sum()),
        lost=int((differences < 0).sum()),
        difference=round(float(differences.mean()), SHARES),
        interval=figures.rounded(interval, SHARES),
    )


def wilson(values: np.ndarray, clusters: Sequence[str]) -> Interval:
    """The 95 % interval of a share.

    Args:
        values: 1 for each right answer and 0 for each other, [rows].
        clusters: the rows' instructions, [rows].
    """
    rows, count = _independent(values, clusters)
    if count < FEWEST:
        return too_few(count, FEWEST)
    rows = min(rows, _unseen(values, clusters))
    z, share = _quantile(count), float(values.mean())
    middle = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z / (1 + z**2 / rows) * math.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    method = f"Wilson, {counted(count, 'instruction')} of {rows:.1f} independent rows"
    return Interval(level=LEVEL, low=max(0.0, middle - half), high=min(1.0, middle + half), method=method)


def bonett_price(differences: np.ndarray, clusters: Sequence[str]) -> Interval:
    """The 95 % interval of the mean of paired differences of -1, 0 and 1.

    Args:
        differences: 1 for each row that is right after and not before, -1 for the contrary, otherwise 0, [rows].
        clusters: the rows' instructions, [rows].
    """
    rows, count = _independent(differences, clusters)
    if count < FEWEST:
        return too_few(count, FEWEST)
    gained, lost = ((rows * float((differences == sign).mean()) + 1) / (rows + 2) for sign in (1, -1))
    half = _quantile(count) * math.sqrt((gained + lost - (gained - lost) ** 2) / (rows + 2))
    middle = gained - lost
    method = f"Bonett and Price, {counted(count, 'instruction')} of {rows:.1f} independent rows"
    return Interval(level=LEVEL, low=max(-1.0, middle - half), high=min(1.0, middle + half), method=method)


def _independent(values: np.ndarray, clusters: Sequence[str]) -> tuple[float, int]:
    """For how many independent rows these count, and of how many instructions they are.

    Where all values are equal nothing is seen of the scatter, and each instruction counts as one row.
    """
    sums, sizes = by_cluster(values, clusters)
    error, variance = standard_error(sums, sizes), float(values.var(ddof=1)) if len(values) > 1 else 0.0
    if error is None or variance <= EQUAL or error <= EQUAL:
        return float(len(sums)), len(sums)
    return min(float(len(values)), variance / error**2), len(sums)


def _unseen(values: np.ndarray, clusters: Sequence[str]) -> float:
    """As many at most, where rows share instructions: with one right and one wrong instruction more than there are.

    Of few instructions that are almost all right, or all wrong, the scatter is seen to be less than it is.
    """
    sums, sizes = by_cluster(values, clusters)
    rows, size = len(values), float(sizes.mean())
    if len(sums) == rows:
        return float(rows)
    sums, sizes = np.append(sums, [size, 0.0]), np.append(sizes, [size, size])
    share, error = sums.sum() / sizes.sum(), standard_error(sums, sizes) or 0.0
    effect = error**2 * sizes.sum() / (share * (1 - share))
    return float(rows / max(1.0, effect))


def _quantile(count: int) -> float:
    return t_quantile((1 + LEVEL) / 2, count - 1)
