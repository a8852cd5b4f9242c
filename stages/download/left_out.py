"""The report of rows that were left out of the dataset or changed in it: artifacts/download/left_out.json."""

from __future__ import annotations

import dataclasses
from typing import Any

from stages.common import files
from stages.common.results.download import LEFT_OUT
from stages.download.formats.reader import Read
from stages.download.mixing import Part


def write(found: Read, rows: int, parts: list[Part]) -> None:
    """Write the report.

    Args:
        found: the dataset as read.
        rows: number of rows of the dataset.
        parts: what each source of a mix gives; empty where there is one source.
    """
    if not parts:
        files.write_json(LEFT_OUT, report(found, rows))
        return
    sources = {part.name: report(part.read, part.taken) for part in parts}
    files.write_json(LEFT_OUT, {"rows_of_the_dataset": rows, "sources": sources})


def report(found: Read, rows: int) -> dict[str, Any]:
    """The counts and the rows of a report. Rows are numbered from 1 in the user's file.

    Args:
        found: a file as read.
        rows: number of its rows in the dataset.
    """
    left = [
        {key: value for key, value in dataclasses.asdict(one).items() if key != "file" or value}
        for one in found.left_out
    ]
    return {
        "rows_of_the_file": found.total,
        "rows_of_the_dataset": rows,
        "left_out": {"count": len(found.left_out), "rows": left},
        "cleaned_inputs": {"count": len(found.cleaned), "rows": found.cleaned},
    }
