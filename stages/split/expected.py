"""How the rows of a small dataset on this machine would be divided, before any stage has run."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence

from stages.common.errors import PipelineError
from stages.common.results.split import Example
from stages.download import expected
from stages.download.expected import Outcome
from stages.params.download import DataSource
from stages.params.split import Split
from stages.split.checks import near
from stages.split.splits import divide, named

Division = Mapping[str, Sequence[Example]]


def division(data: DataSource, settings: Split) -> Division | None:
    """The rows of each split; None where the rows are not known, or cannot be used: the check of download says why.

    Args:
        data: the section download.data.
        settings: the section split.

    Raises:
        PipelineError: the stage split would refuse the rows, by the same error.
    """
    found = _division(data, settings)
    if isinstance(found, PipelineError):
        raise found
    return found


def division_if_sound(data: DataSource, settings: Split) -> Division | None:
    """As `division`; None too where the rows cannot be divided, which the check of split says."""
    found = _division(data, settings)
    return None if isinstance(found, PipelineError) else found


def _division(data: DataSource, settings: Split) -> Division | PipelineError | None:
    try:
        outcome = expected.outcome_of(data)
    except OSError:
        return None
    if outcome is None or outcome.error is not None:
        return None
    with _dividing:  # the checks of several stages ask at the same time
        return _divided(outcome, settings.model_dump_json())


_dividing = threading.Lock()


@functools.lru_cache(maxsize=1)
def _divided(outcome: Outcome, settings_text: str) -> Division | PipelineError:
    settings = Split.model_validate_json(settings_text)
    places: list[str] = []
    examples = list(named(outcome.rows, places))
    groups = near.find(examples).near if settings.method == "grouped" else None
    try:
        return divide(examples, settings, groups, places)
    except PipelineError as error:
        return error
