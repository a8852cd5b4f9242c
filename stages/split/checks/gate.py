"""The gate: all checks of the rows, what is told of them, and the refusal above a threshold."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stages.common.errors import DataError
from stages.common.files import atomic_file, write_json
from stages.common.metrics.gate import Finding, GateReport
from stages.common.metrics.split import SplitMetrics
from stages.common.paths import CACHE, PARAMS
from stages.common.plurals import counted
from stages.common.results.split import GATE_PAGE, GATE_REPORT, Example
from stages.params.split import Checks
from stages.split.checks.context import Context
from stages.split.checks.findings import every_finding
from stages.split.checks.near import Duplicates
from stages.split.checks.rows import Rows
from stages.split.checks.templates import most_frequent
from stages.split.page import page

#: Where the report of refused rows is: DVC removes what a failed stage has written.
REFUSED = CACHE / "split"
_ORDER = {"error": 0, "warning": 1, "info": 2}
#: Ids of a finding in a message; rows and templates of a list in the report.
_IDS = 10
_LISTED = 10


def inspect(
    division: Mapping[str, Sequence[Example]],
    order: Sequence[Example],
    duplicates: Duplicates,
    census: SplitMetrics,
    limits: Checks,
    context: Context,
) -> GateReport:
    """Make every check.

    Args:
        division: rows of each split, by its name.
        order: all rows, in the order of the file.
        duplicates: equal and near-equal prompts among them.
        census: their counts.
        limits: the thresholds.
        context: the context of the training.
    """
    rows = Rows(division, order, duplicates, context)
    findings = list(every_finding(rows, limits))
    longest = heapq.nsmallest(_LISTED, range(len(rows)), key=lambda place: (-rows.lengths[place], rows.ids[place]))
    return GateReport(
        rows=census.rows,
        findings=sorted((one for one in findings if one.count), key=lambda one: _ORDER[one.severity]),
        passed=[one.name for one in findings if not one.count],
        characters=census.characters,
        categories=census.categories,
        scripts=_most_first(rows.scripts.counts()),
        languages=_most_first(rows.languages.counts()),
        templates=most_frequent(duplicates.skeletons, duplicates.templates.skeleton, _LISTED),
        longest={rows.ids[place]: rows.lengths[place] for place in longest},
    )


def _most_first(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: counts[name] for name in sorted(counts, key=lambda name: (-counts[name], name))}


def write(report: GateReport, folder: Path | None = None) -> Path:
    """Write the report as JSON and as a page, and return the path of the page.

    Args:
        report: the report.
        folder: folder of both files; None: that of the stage's outputs.
    """
    json_path = folder / GATE_REPORT.name if folder else GATE_REPORT
    page_path = folder / GATE_PAGE.name if folder else GATE_PAGE
    json_path.parent.mkdir(parents=True, exist_ok=True)
    write_json(json_path, report.model_dump())
    with atomic_file(page_path) as stream:
        stream.write(page(report))
    return page_path


def refuse(report: GateReport) -> None:
    """End the stage if more rows were found than a threshold allows. The report is then in `REFUSED`.

    Raises:
        DataError: a finding is above its threshold; the message has them all, with the ids of their rows.
    """
    errors = [one for one in report.findings if one.severity == "error"]
    if not errors:
        return
    path = write(report, REFUSED)
    keys = ", ".join(f"split.checks.{one.name}" for one in errors)
    problems = [f"  - {_problem(one)}" for one in errors]
    found = counted(len(errors), "check finds", "checks find")
    names = {one.name for one in errors}
    others = "raise tokenize.context_length, " if names & {"over_context", "dropped"} else ""
    others += "add rows, raise split.test, " if "few_test_rows" in names else ""
    raise DataError(
        "\n".join([f"the dataset: {found} more rows than {PARAMS} allows:", *problems]),
        f"correct these rows (examples are in {path}), {others}or raise {keys} in {PARAMS}; null allows any number",
    )


def _problem(found: Finding) -> str:
    ids = ", ".join(found.ids[:_IDS])
    more = f" and {found.count - _IDS:,} more" if found.count > _IDS else ""
    return f"{found.name}: expected {found.limit} at most, found {found.count:,}: {found.what}: {ids}{more}"


def describe(report: GateReport) -> Iterator[str]:
    """Yield the lines that the stage prints about the checks."""
    made = len(report.findings) + len(report.passed)
    warnings = [f"{one.count:,} {one.name}" for one in report.findings if one.severity != "info"]
    found = f"rows to look at: {', '.join(warnings)}" if warnings else "no row to look at"
    yield f"{made} checks; {found} ({GATE_PAGE})"
