"""The answers of several runs side by side, as figures for a file and as text."""

from __future__ import annotations

import itertools
import string
from collections.abc import Sequence
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from stages.common.metrics.judge import Interval, JudgeIdentity, PairSelfTest, is_none
from stages.common.plurals import counted
from stages.common.records import Metrics, ModelName
from stages.judge.runs.answers import Rows
from stages.judge.runs.pairs import IDENTICAL, OF_MODELS, Pair
from stages.judge.runs.results import PLACES, written
from stages.judge.runs.table import p_value
from stages.judge.scores.bradley_terry import Strength
from stages.judge.scores.figures import rounded
from stages.running.console import WIDTH, fitted

#: What runs are called in the text.
LETTERS = string.ascii_uppercase
#: Characters of a line in front of its text.
_LABEL = 12


def letters(runs: int) -> list[str]:
    """The letters of so many runs, no more than `LETTERS` has."""
    return list(LETTERS[:runs])


class PairEntry(Metrics):
    """A pair of runs in the file: the fields of ``pair`` stand among the others."""

    verdict: str
    rests_on: str
    pair: Pair

    @model_serializer(mode="wrap")
    def _flat(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = dump(self)
        pair: dict[str, Any] = found.pop("pair")
        names: dict[str, Any] = {"a": pair.pop("a"), "b": pair.pop("b")}
        return names | found | pair


class NamedStrength(Metrics):
    """The strength of a run among three or more, as in `stages.judge.scores.bradley_terry.Strength`."""

    run: str
    strength: float | None
    interval: Interval
    won: float | None


class SideBySideFile(Metrics):
    """What ``--json`` writes; ``strengths`` is absent with two runs."""

    judge: JudgeIdentity
    self_test: PairSelfTest
    model: ModelName
    runs: list[str]
    rows: Rows
    pairs: list[PairEntry]
    strengths: list[NamedStrength] | None = Field(default=None, exclude_if=is_none)


class SideBySide(Metrics):
    """The answers of runs, each set against each other one.

    Args:
        judge: the judge that compared.
        self_test: its verdicts on pairs whose better answer is known.
        model: the model whose answers were compared.
        runs: names of the runs.
        rows: which rows were compared.
        pairs: each pair of runs, in the runs' order.
        strengths: strengths of the runs, the best first; of two runs there are none, as their win rate says all.
        instructions: different instructions among the rows behind the strengths.
    """

    judge: JudgeIdentity
    self_test: PairSelfTest
    model: ModelName
    runs: list[str]
    rows: Rows
    pairs: list[Pair]
    strengths: list[Strength]
    instructions: int

    def written(self) -> SideBySideFile:
        """The figures as they are written, with their numbers rounded; a p-value is never 0."""
        entries = [
            PairEntry(verdict=one.verdict(one.a, one.b), rests_on=one.rests_on, pair=written(one)) for one in self.pairs
        ]
        found = SideBySideFile(
            judge=self.judge, self_test=self.self_test, model=self.model, runs=self.runs, rows=self.rows, pairs=entries
        )
        if not self.strengths:
            return found
        named = [
            NamedStrength(run=self.runs[one.run], strength=one.strength, interval=one.interval, won=one.won)
            for one in self.strengths
        ]
        return found.model_copy(update={"strengths": [rounded(one, PLACES) for one in named]})


def table(found: SideBySide) -> str:
    """The runs, the judge, the rows, and a block for each pair."""
    names = letters(len(found.runs))
    head = [f"{letter} {name}" for letter, name in zip(names, found.runs, strict=True)]
    lines = [*head, *map(_broken, [*_doubts(found), _judge(found), _rows(found, names)])]
    of_pairs = zip(found.pairs, itertools.combinations(names, 2), strict=True)
    blocks = ["\n".join(map(_broken, _block(pair, a, b, len(found.pairs)))) for pair, (a, b) in of_pairs]
    strengths = "\n".join(map(_broken, _strengths(found, names)))
    return "\n\n".join(filter(None, ["\n".join(lines), *blocks, strengths]))


def _broken(line: str) -> str:
    return line if len(line) <= WIDTH else fitted(line, _LABEL)


def _doubts(found: SideBySide) -> list[str]:
    return [f"WARNING     the judge: {found.judge.mark.upper()}"] if found.judge.mark else []


def _judge(found: SideBySide) -> str:
    tested = f"in its self-test it named the right one of two answers in {100 * found.self_test.named_right:.0f} %"
    return f"judge       {found.judge.name}; {tested}"


def _rows(found: SideBySide, names: Sequence[str]) -> str:
    everywhere = "both" if len(names) == 2 else f"all {counted(len(names), 'run')}"
    left_out = found.rows.left_out(names)
    rows = f"rows        {found.rows.compared} answered in {everywhere}"
    return f"{rows}; left out: {left_out}" if left_out else rows


def _block(pair: Pair, a: str, b: str, pairs: int) -> list[str]:
    """The lines on one pair of runs."""
    open_rows = f"; left out: {counted(pair.open, 'open row')}, not for this judge" if pair.open else ""
    if pair.verdict(a, b) == IDENTICAL:
        rows = counted(pair.identical, "row")
        return [f"{a} and {b}     {IDENTICAL} to {rows}{open_rows}", f"result      {IDENTICAL}"]
    lines = [
        f"{a} and {b}     {a} better {pair.losses}, ties {pair.ties}, {b} better {pair.wins}, "
        f"of {counted(pair.clusters, 'instruction')}{_without(pair)}{open_rows}"
    ]
    if pair.win_rate.mean is not None:
        lines.append(f"win rate    of {b} {_percent(pair.win_rate.mean, pair.win_rate.interval)}")
        lines.append(f"length      {_at_equal_length(pair, b)}")
    if pair.consistency is not None:
        first = (
            ""
            if pair.first_position_share is None
            else (f"; {100 * pair.first_position_share:.0f} % of the answers that are called better were shown first")
        )
        lines.append(f"orders      agree in {100 * pair.consistency:.0f} % of the rows{first}")
    if pair.p is not None and pair.p_holm is not None:
        holm = f", {p_value(pair.p_holm)} by Holm over {pairs}" if pairs > 1 else ""
        lines.append(f"p           {p_value(pair.p)}{holm} (permutation test)")
    lines.append(f"result      {'; '.join(filter(None, [pair.verdict(a, b), pair.rests_on]))}")
    return lines


def _without(pair: Pair) -> str:
    """Ties that need a word, and rows without an outcome."""
    counts = {
        "identical answers": pair.identical,
        "orders that disagree": pair.inconsistent,
        "invalid": pair.invalid,
        "failed": pair.failed,
    }
    found = [f"{count} {what}" for what, count in counts.items() if count]
    return f" ({', '.join(found)})" if found else ""


def _at_equal_length(pair: Pair, b: str) -> str:
    found = pair.length_controlled
    longer = found.mean_length_difference or 0.0
    differs = f"{b}'s answers are {abs(longer):.1f} characters {'longer' if longer > 0 else 'shorter'} on average"
    if f"{abs(longer):.1f}" == "0.0":
        differs = "the answers are equally long on average"
    if found.win_rate is None:
        return f"win rate at equal length: {found.interval.method}; {differs}"
    return f"win rate at equal length {_percent(found.win_rate, found.interval)}; {differs}"


def _percent(rate: float, interval: Interval) -> str:
    """A share in percent, with its interval or why there is none."""
    if interval.low is None or interval.high is None:
        return f"{100 * rate:.1f} %, 95 % interval {interval.method}"
    exact = f", {interval.method}" if interval.method and interval.method.startswith("exact") else ""
    return f"{100 * rate:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}], 95 % interval{exact}"


def _strengths(found: SideBySide, names: Sequence[str]) -> list[str]:
    """The lines on the strengths; none of two runs."""
    if not found.strengths:
        return []
    over = f"a tie as half a win; 95 % intervals over {counted(found.instructions, 'instruction')}"
    lines = [f"strengths   Bradley-Terry, {over}"]
    for one in found.strengths:
        won = "no verdict" if one.won is None else f"{100 * one.won:.1f} % won"
        lines.append(f"{'':<{_LABEL}}{names[one.run]}  {_strength(one)}{won:>14}  {found.runs[one.run]}")
    intervals = [one.interval for one in found.strengths]
    if intervals[0].low is None and intervals[0].high is None and intervals[0].method:
        lines.append(f"{'':<{_LABEL}}intervals: {intervals[0].method}")
    if any(pair.basis not in OF_MODELS for pair in found.pairs):
        lines.append(f"{'':<{_LABEL}}of these trainings, and not of their recipes: training seeds are not allowed for")
    return lines


def _strength(one: Strength) -> str:
    """A strength with its interval, in columns."""
    if one.strength is None:
        return f"{'-':>6}"
    low, high = (None if end is None else f"{end:+z.2f}" for end in (one.interval.low, one.interval.high))
    interval = "" if low is None and high is None else f" [{low or '?'}, {high or '?'}]"
    return f"{one.strength:>+z6.2f}{interval:<16}"
