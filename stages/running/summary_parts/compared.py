"""The summary of the scores beside another run's."""

from __future__ import annotations

from stages.common.metrics.beside import Beside
from stages.common.metrics.judge import Interval
from stages.common.plurals import counted
from stages.running.beside import IDENTICAL, Told
from stages.running.summary_parts.scores import mean_of_100


def compared_lines(told: Told) -> list[str]:
    """Two to four lines on the comparison; before them a line where the scores are those of the last commit.

    Args:
        told: what is told of them. Without a comparison it is one line on why there is none, or nothing.
    """
    return [*filter(None, [told.words]), *(_comparison(told.found) if told.found else [])]


def _comparison(found: Beside) -> list[str]:
    if found.mean is None or found.mean_there is None or not found.same_judge:
        return [f"with {found.other}: {'; '.join(filter(None, [found.verdict, found.rests_on]))}"]
    rows = counted(found.n, "row")
    means = f"{found.mean_there:z.1f} of 100 points there, {found.mean:z.1f} here"
    lines = [f"with {found.other}, on {rows}: {means}"]
    difference = mean_of_100(found.difference, Interval(level=0.95, low=found.low, high=found.high), sign="+")
    lines.append(f"this run   {difference}: {found.verdict}")
    if found.rests_on and found.verdict != IDENTICAL:
        lines.append(f"           {found.rests_on}")
    if found.verdict == "no detectable difference" and found.detectable is not None:
        lines.append(f"           a true difference of {found.detectable:.1f} points would be found about 3 times in 4")
    return lines
