"""The report of rows that were left out of the dataset or changed in it: artifacts/download/left_out.json.

It is there only if there are such rows. So it is no output that DVC knows: those must always be there.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from stages.common import files
from stages.common.results.download import DATASET
from stages.download.formats.reader import Read

#: The report, beside the dataset.
PATH = DATASET.with_name("left_out.json")


def write(found: Read) -> None:
    """Write the report, or remove an earlier one if there is nothing to report.

    Args:
        found: the dataset as read.
    """
    if found.left_out or found.cleaned:
        files.write_json(PATH, report(found))
    else:
        PATH.unlink(missing_ok=True)


def report(found: Read) -> dict[str, Any]:
    """The counts and the rows of a report. Rows are numbered from 1 in the user's file.

    Args:
        found: the dataset as read.
    """
    return {
        "rows_of_the_file": found.total,
        "rows_of_the_dataset": len(found.rows),
        "left_out": {"count": len(found.left_out), "rows": [dataclasses.asdict(one) for one in found.left_out]},
        "cleaned_inputs": {"count": len(found.cleaned), "rows": found.cleaned},
    }
