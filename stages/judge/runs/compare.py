"""Compares runs: `python -m stages.judge.runs.compare A B [C ...]`, each of B, C, ... against A.

A run is a folder (a repository, or its artifacts/judge), a git revision, a DVC experiment, or an MLflow run (id, name).
`--json FILE` writes the table as JSON, `--figure FILE` draws it. "No detectable difference" is a result: the least true
difference that so many rows would show stands beside it. What kinds of fault cost either run is set beside one another.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stages.common.files import atomic_file, write_json
from stages.common.results.judge import Verdict
from stages.judge.runs.comparison import Comparison, compare, holm
from stages.judge.runs.sources import Run, find_run
from stages.judge.scores.faults import points_lost
from stages.running import program

#: Ids of rows that are named where there are more.
MOST_NAMED = 5


def main() -> None:
    """Read the runs, compare them, and print the table."""
    parser = argparse.ArgumentParser(description="Compare the scores of runs, row by row.")
    parser.add_argument(
        "a", metavar="A", help="the run to compare with: a path, git revision, experiment or MLflow run"
    )
    parser.add_argument("others", metavar="B", nargs="+", help="the runs to compare with it")
    parser.add_argument("--model", default="tuned", choices=["tuned", "base"], help="whose answers (tuned)")
    parser.add_argument("--as", dest="last", metavar="NAME", help="what to call the last run (as it was given)")
    parser.add_argument(
        "--resamples", type=_from(100), default=10_000, help="of the bootstrap and the permutation test (10000)"
    )
    parser.add_argument("--seed", type=_from(0), default=123, help="of both (123)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table as JSON")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the differences with their intervals as PNG")
    options = parser.parse_args()
    runs = [find_run(name) for name in (options.a, *options.others)]
    if options.last:
        runs[-1] = dataclasses.replace(runs[-1], name=options.last)
    found = compare_runs(runs, model=options.model, resamples=options.resamples, seed=options.seed)
    print(table(runs, found, options.model))
    if options.json:
        write_json(options.json, as_json(runs, found, options.model))
    if options.figure:
        plot(options.figure, runs, found)


def _from(least: int) -> Callable[[str], int]:
    """A whole number of at least ``least``, as argparse reads it."""

    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} on, found {text}")
        return int(text)

    return whole


def compare_runs(runs: Sequence[Run], *, model: str, resamples: int, seed: int) -> list[Comparison]:
    """Compare the first run with each of the others, with Holm's correction over all of them."""
    first, *others = [run.of(model) for run in runs]
    found = [compare(first, other, resamples=resamples, seed=seed, together=len(others)) for other in others]
    corrected = holm([one.p for one in found])
    return [dataclasses.replace(one, p_holm=p) for one, p in zip(found, corrected, strict=True)]


def table(runs: Sequence[Run], found: Sequence[Comparison], model: str) -> str:
    """What came out, as text: a block for each comparison, what the faults of either run's answers cost, and what
    differs between the judges.
    """
    first, *others = runs
    blocks = []
    for run, one in zip(others, found, strict=True):
        lines = [f"A {first.name}", f"B {run.name}", *_figures(one, len(found)), f"result      {one.verdict}"]
        lines += _fault_lines(faults_beside(first.of(model), run.of(model)))
        blocks.append("\n".join([*lines, *_warning(first, run)]))
    return "\n\n".join(blocks)


def _figures(one: Comparison, comparisons: int) -> list[str]:
    absent = {"without a score": one.left_out, "in A alone": one.only_in_a, "in B alone": one.only_in_b}
    left_out = ", ".join(f"{count} {where}" for where, count in absent.items() if count)
    if count := len(one.another_row):
        named = ", ".join(one.another_row[:MOST_NAMED]) + (", ..." if count > MOST_NAMED else "")
        left_out += f"{', ' if left_out else ''}{count} with another instruction in B ({named})"
    rows = f"rows        {one.n} scored in both, of {one.clusters} instructions"
    lines = [rows + (f"; left out: {left_out}" if left_out else "")]
    if one.mean_a is None or one.mean_b is None or one.difference is None:
        return lines
    lines.append(f"mean        A {one.mean_a:.1f}, B {one.mean_b:.1f}")
    lines.append(f"B minus A   {one.difference:+.1f}{_interval(one)}")
    lines.append(f"row by row  B better {one.wins}, equal {one.ties}, A better {one.losses}")
    if one.p is not None and one.p_holm is not None:
        corrected = f", {one.p_holm:.4f} by Holm over {comparisons}" if comparisons > 1 else ""
        lines.append(f"p           {one.p:.4f}{corrected} (permutation test)")
    if one.detectable is not None:
        lines.append(f"detectable  a true difference of {one.detectable:.1f} would be found 4 times in 5")
    elif one.p is not None:
        lines.append("detectable  not known: all instructions differ by the same number")
    return lines


def _interval(one: Comparison) -> str:
    if one.low is None or one.high is None:
        return f", 95 % interval {one.method}"
    exact = f", {one.method}" if one.method.startswith("exact") else ""
    return f" [{one.low:+.1f}, {one.high:+.1f}], 95 % interval{exact}"


def faults_beside(a: Sequence[Verdict], b: Sequence[Verdict]) -> dict[str, dict[str, dict[str, Any]]]:
    """What each fault costs either run: by fault and ``a`` or ``b``, ``n`` answers with it and the ``points_lost``.

    The faults whose cost has changed most come first.
    """
    costs = {run: points_lost(verdicts, {}) for run, verdicts in (("a", a), ("b", b))}
    none = {"n": 0, "points_lost": 0.0}
    table = {
        name: {run: {key: found.get(name, none)[key] for key in none} for run, found in costs.items()}
        for name in sorted(costs["a"] | costs["b"])
    }

    def change(name: str) -> float:
        before, after = (float(table[name][run]["points_lost"]) for run in ("a", "b"))
        return -abs(after - before)

    return {name: table[name] for name in sorted(table, key=change)}


def _fault_lines(found: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """The faults in A and in B, a line each."""
    lines: list[str] = []
    for name, beside in found.items():
        counts, points = ([beside[run][key] for run in ("a", "b")] for key in ("n", "points_lost"))
        costs = f"{points[0]:.1f} → {points[1]:.1f} points lost"
        lines.append(f"{'' if lines else 'faults':<12}{name:<17}{counts[0]} → {counts[1]} answers, {costs}")
    return lines


def _warning(a: Run, b: Run) -> list[str]:
    """What to say where the scores come from two judges."""
    if a.judge == b.judge:
        return []
    keys = sorted(key for key in a.judge.keys() | b.judge.keys() if a.judge.get(key) != b.judge.get(key))
    differing = [f"{key} {a.judge.get(key)} / {b.judge.get(key)}" for key in keys if key != "fingerprint"]
    return [f"WARNING     not the same judge, so that the difference may be the judges': {'; '.join(differing)}"]


def as_json(runs: Sequence[Run], found: Sequence[Comparison], model: str) -> dict[str, Any]:
    """The comparisons with the names and the judges of their runs, and what faults cost these (`faults_beside`)."""
    first, *others = runs
    return {
        "a": {"name": first.name, "judge": first.judge},
        "model": model,
        "comparisons": [
            {
                "b": {"name": run.name, "judge": run.judge},
                "same_judge": run.judge == first.judge,
                **one.as_json(),
                "faults": faults_beside(first.of(model), run.of(model)),
            }
            for run, one in zip(others, found, strict=True)
        ],
    }


def plot(path: Path, runs: Sequence[Run], found: Sequence[Comparison]) -> None:
    """Draw each difference with its interval, beside the range within which so many rows show nothing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    first, *others = runs
    figure = Figure(figsize=(8, 1.8 + 0.5 * len(found)), layout="constrained")
    axes = figure.subplots()
    for height, one in enumerate(found):
        if one.detectable is not None:
            axes.barh(height, 2 * one.detectable, 0.6, left=-one.detectable, color="#e3e6e9", zorder=1)
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [height, height], color="#1f6fb2", linewidth=3, zorder=2)
        if one.difference is not None:
            axes.scatter([one.difference], [height], color="#1f6fb2", s=40, zorder=3)
    same = [f"{run.name}{'' if run.judge == first.judge else ' (another judge)'}" for run in others]
    axes.axvline(0, color="#2b2f33", linewidth=1)
    axes.set_yticks(range(len(found)), [f"{name}\n{one.verdict}" for name, one in zip(same, found, strict=True)])
    axes.set(xlabel="points more than A, with the 95 % interval; grey: too small to be found 4 times in 5")
    axes.set_title(f"Compared with {first.name}", loc="left", fontsize=11)
    axes.invert_yaxis()
    axes.spines[["top", "right", "left"]].set_visible(False)
    with atomic_file(path, "wb") as stream:
        FigureCanvasAgg(figure)
        figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    program.run("compare", main)
