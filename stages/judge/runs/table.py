"""The comparisons of runs as text: a block for each, with the costs of faults, and how two judges differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stages.common.plurals import counted, word
from stages.judge.runs.comparison import NOT_COMPARABLE, TEST_OF_SEEDS, Comparison
from stages.judge.runs.recipe import between
from stages.judge.runs.results import FaultCosts, RunsCompared
from stages.running.console import WIDTH, fitted

#: Ids of rows that are named where there are more.
MOST_NAMED = 5
#: With fewer instructions no p-value of the permutation test is below 5 %.
FEWEST_FOUND = 6
#: Characters of a line in front of its text: a label, or blanks.
_LABEL = 12


def table(found: Sequence[RunsCompared]) -> str:
    """The comparisons, one block each."""
    return "\n\n".join("\n".join(map(_broken, _block(one, len(found)))) for one in found)


def _broken(line: str) -> str:
    """A line, broken where it is too long. The names of the runs stay whole, so that they can be copied."""
    return line if len(line) <= WIDTH or line.startswith(("A ", "B ")) else fitted(line, _LABEL)


def _block(one: RunsCompared, comparisons: int) -> list[str]:
    names = [f"A {one.a.name}", f"B {one.b.name}"]
    if one.identical:
        return [*names, *_doubts(one), *_members(one), _identical(one.comparison)]
    return [
        *names,
        *_doubts(one),
        *_members(one),
        *_figures(one.comparison, comparisons),
        _result(one),
        *([] if one.comparison.basis in NOT_COMPARABLE else _fault_lines(one.faults)),
        *_warning(one),
    ]


def _doubts(one: RunsCompared) -> list[str]:
    """The marks of judges that are not to be believed."""
    found = [(letter, run.judge.mark) for letter, group in (("A", one.a), ("B", one.b)) for run in group.runs]
    marks = dict.fromkeys((letter, mark) for letter, mark in found if mark)
    return [f"WARNING     {letter}: the judge: {mark.upper()}" for letter, mark in marks]


def _members(one: RunsCompared) -> list[str]:
    """The trainings of the groups, what differs between their recipes, and what the user should know of them."""
    lines = []
    for letter, group in (("A", one.a), ("B", one.b)):
        if len(group.runs) > 1:
            seeds = f", seeds {', '.join(map(str, group.seeds))}" if group.seeds else ""
            lines.append(f"trainings {letter} {counted(len(group.runs), 'run')} of one recipe{seeds}")
        lines += [f"note        {letter}: {note}" for note in group.notes]
    if one.a.recipe is not None and one.b.recipe is not None and max(len(one.a.runs), len(one.b.runs)) > 1:
        differing = between(one.a.recipe, one.b.recipe)
        more = [f"{len(differing) - MOST_NAMED} more"] if len(differing) > MOST_NAMED else []
        lines.append(f"recipes     {', '.join(differing[:MOST_NAMED] + more) or 'A and B are of one recipe'}")
    return lines


def _identical(one: Comparison) -> str:
    """The only thing to say of runs with the same verdicts. The answers themselves are not compared."""
    mean = "" if one.mean_a is None else f"; mean {one.mean_a:z.1f} of 100 points"
    verdicts = counted(one.n + one.left_out, "verdict")
    return f"result      identical: {verdicts} of one judge, with the same scores, details and faults{mean}"


def _result(one: RunsCompared) -> str:
    """The verdict, with the name of the run that it speaks of, and what it rests on."""
    verdict = one.comparison.verdict
    named = {"A": one.a.name, "B": one.b.name}.get(verdict.partition(" ")[0])
    said = f"{verdict}: {named}" if named else verdict
    return f"result      {'; '.join(filter(None, [said, one.comparison.rests_on]))}"


def _figures(one: Comparison, comparisons: int) -> list[str]:
    lines = [_rows(one)]
    if one.mean_a is None or one.mean_b is None or one.difference is None:
        return lines
    lines.append(f"mean        A {one.mean_a:z.1f}, B {one.mean_b:z.1f}")
    lines.append(f"B minus A   {one.difference:+z.1f}{_interval(one)}")
    lines += _seeds(one)
    lines.append(f"row by row  B better {one.wins}, equal {one.ties}, A better {one.losses}")
    if one.right_of is not None and one.right_a is not None and one.right_b is not None:
        a, b = (f"{count:.1f}".removesuffix(".0") for count in (one.right_a, one.right_b))
        several = ", the mean of the trainings" if max(one.trainings_a, one.trainings_b) > 1 else ""
        lines.append(f"right       A {a}, B {b} of {counted(one.right_of, 'answer')}{several}")
    if one.p is not None and one.p_holm is not None:
        corrected = f", {p_value(one.p_holm)} by Holm over {comparisons}" if comparisons > 1 else ""
        lines.append(f"p           {p_value(one.p)}{corrected} ({one.test})")
    if one.detectable is not None:
        lines.append(f"detectable  a true difference of {one.detectable:z.1f} would be found about 3 times in 4")
    elif one.p is not None:
        lines.append(f"detectable  not known: {_not_detectable(one)}")
    return lines


def _not_detectable(one: Comparison) -> str:
    """Why it is not known which difference would be found."""
    if one.clusters < FEWEST_FOUND:
        return "so few instructions show nothing"
    if one.test == TEST_OF_SEEDS:
        return "it takes four trainings of each recipe"
    return "all instructions differ by the same number"


def _seeds(one: Comparison) -> list[str]:
    """How much trainings of one recipe differ."""
    if one.seeds is None:
        return []
    shown = counted(one.seeds.trainings, "training")
    each = "" if one.seeds.sd_a is None else f"; A {one.seeds.sd_a:.1f}, B {one.seeds.sd_b:.1f}"
    return [
        f"seeds       {shown} of one recipe each differ by {one.seeds.sd:.1f} points (standard deviation{each}), "
        f"by {one.seeds.sd_beyond_rows:.1f} beyond what these rows explain"
    ]


def p_value(value: float) -> str:
    """A p-value, which is never 0."""
    return f"{value:.4f}" if value >= 0.00005 else "< 0.0001"


def _rows(one: Comparison) -> str:
    """How many rows are compared, and which are not."""
    absent = {"without a score": one.left_out, "in A alone": one.only_in_a, "in B alone": one.only_in_b}
    left_out = [f"{count} {where}" for where, count in absent.items() if count]
    if count := len(one.another_row):
        named = ", ".join(one.another_row[:MOST_NAMED]) + (", ..." if count > MOST_NAMED else "")
        left_out.append(f"{count} with another instruction in B ({named})")
    everywhere = "both" if one.trainings_a == one.trainings_b == 1 else "all runs"
    rows = f"rows        {one.n} scored in {everywhere}, of {counted(one.clusters, 'instruction')}"
    return f"{rows}; left out: {', '.join(left_out)}" if left_out else rows


def _interval(one: Comparison) -> str:
    if one.basis == "two judges":
        return ""
    if one.low is None or one.high is None:
        return f", 95 % interval {one.method}"
    exact = f", {one.method}" if one.method and one.method.startswith("exact") else ""
    over = " over seeds and instructions" if one.test == TEST_OF_SEEDS else ""
    return f" [{one.low:+z.1f}, {one.high:+z.1f}], 95 % interval{over}{exact}"


def _fault_lines(found: Mapping[str, FaultCosts]) -> list[str]:
    """The faults in A and in B whose costs differ, a line each."""
    changed = {name: costs for name, costs in found.items() if costs.a != costs.b}
    lines: list[str] = []
    for name, costs in changed.items():
        a, b = costs.a, costs.b
        points = f"{a.points_lost:z.1f} → {b.points_lost:z.1f} points lost"
        answers = f"{a.n:.3g} → {b.n:.3g} {word(b.n, 'answer')}"
        lines.append(f"{'' if lines else 'faults':<12}{name:<17}{answers}, {points}")
    return lines


def _warning(one: RunsCompared) -> list[str]:
    """What to say where the scores come from two judges."""
    if one.same_judge or one.comparison.basis == "other test rows":
        return []
    a, b = one.a.runs[0].judge.model_dump(), one.b.runs[0].judge.model_dump()
    keys = sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))
    differing = [f"{key} {a.get(key)} / {b.get(key)}" for key in keys if key != "fingerprint"]
    return [f"judges      {'; '.join(differing) or 'they differ in their version'}; score both runs by one judge"]
