"""The page docs/performance.md: the part between two marks is written by the benchmark, the words around it are not."""

from __future__ import annotations

from benchmarks.scaling.figures import Report
from benchmarks.scaling.tables import HEADINGS, table
from stages.common.errors import DataError

BEGIN = "<!-- written by make bench: begin -->"
END = "<!-- written by make bench: end -->"
#: More cores than this, kept busy by others, and the page says that its figures are no measure of the machine.
BUSY_CORES = 0.2


def between(report: Report, picture: str) -> str:
    """What stands between the marks.

    Args:
        report: what was measured.
        picture: path of the plot, relative to the page.
    """
    lines = [*made_on(report), "", f"![Seconds and memory against size, both axes logarithmic]({picture})"]
    for part in report.parts:
        lines += ["", f"### {HEADINGS[part.name]}", "", *table(part)]
    return "\n".join(lines)


def made_on(report: Report) -> list[str]:
    """The machine, the date and the load, as lines."""
    busiest = max(part.others_cores for part in report.parts)
    seconds = sum(part.seconds for part in report.parts)
    lines = [
        f"Measured on {report.date} in {seconds / 60:.0f} min on {report.machine}.",
        f"Other processes kept up to {busiest:.1f} of {report.cores} cores busy meanwhile.",
    ]
    if report.brief:
        lines.append("The largest sizes were left out (`python -m benchmarks.scaling --brief`).")
    if busiest > BUSY_CORES:
        lines.append("**So seconds and tokens a second are worse than this machine can do; memory is not affected.**")
    return lines


def replaced(page: str, text: str, *, name: str) -> str:
    """A page with other text between its marks.

    Args:
        page: the page.
        text: what is to stand between the marks.
        name: the page's path, for the message.

    Raises:
        DataError: the page does not have each mark once, the first before the second.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise DataError(f"{name}: expected the lines {BEGIN} and {END}, once each", f"git checkout {name}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"
