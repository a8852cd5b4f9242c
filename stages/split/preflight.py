"""Whether the rows make enough test rows, as far as that is known before a run (`stages.running.checks.asking`)."""

from __future__ import annotations

from collections.abc import Iterator

from stages.common.errors import PipelineError
from stages.common.plurals import counted
from stages.params.whole import Params
from stages.running.checks.row import Row, ok, problem, warning
from stages.split import few
from stages.split.expected import division, division_if_sound


def rows(_: Params) -> Iterator[Row]:
    """Nothing: what there is to say can stay unknown."""
    return iter(())


def further(params: Params) -> Iterator[Row]:
    """The sizes of the splits, or why there are none; nothing where the rows are not known beforehand."""
    name = "split rows"
    try:
        found = division(params.download.data, params.split)
    except PipelineError as error:
        yield problem(name, error)
        return
    if found is None:
        return
    total = sum(map(len, found.values()))
    sizes = ", ".join(f"{len(part):,} {split}" for split, part in found.items())
    if few.instructions(found["test"]) >= few.LEAST:
        yield ok(name, f"{counted(total, 'row')} make {sizes}")
        return
    what = f"the score of fewer than {few.LEAST} different instructions has no interval"
    data = params.download.data
    fix = few.more_test_rows(total, params.split, lambda one: (division_if_sound(data, one) or found)["test"])
    yield warning(name, f"{counted(total, 'row')} make {sizes}; {what}", fix)
