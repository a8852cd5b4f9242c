"""How the rows of a small dataset on this machine would be divided, before any stage has run."""

from __future__ import annotations

from collections.abc import Sequence

from stages.common.errors import PipelineError
from stages.common.results.split import Example
from stages.download import expected
from stages.params.download import DataSource
from stages.params.split import Split
from stages.split.checks import near
from stages.split.splits import divide, named


def division(data: DataSource, settings: Split) -> dict[str, Sequence[Example]] | None:
    """The rows of each split; None where the rows are not known, or cannot be used: the check of download says why.

    Args:
        data: the section download.data.
        settings: the section split.

    Raises:
        PipelineError: the stage split would refuse the rows, by the same error.
    """
    try:
        rows = expected.rows_of(data)
    except (PipelineError, OSError):
        rows = None
    if rows is None:
        return None
    places: list[str] = []
    examples = list(named(rows, places))
    groups = near.find(examples).near if settings.method == "grouped" else None
    return divide(examples, settings, groups, places)


def division_if_sound(data: DataSource, settings: Split) -> dict[str, Sequence[Example]] | None:
    """As `division`; None too where the rows cannot be divided, which the check of split says."""
    try:
        return division(data, settings)
    except PipelineError:
        return None
