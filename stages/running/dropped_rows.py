"""How many rows of the user's file were left out of the dataset (download.data.on_invalid: drop)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.common.errors import DataError
from stages.common.files import read_json
from stages.common.plurals import counted, word
from stages.common.results.download import LEFT_OUT

_MADE_BY = "dvc repro download"


def line(root: Path) -> str:
    """What to say of the rows that were left out; empty where there are none, or the report of them is not there.

    Args:
        root: folder with artifacts/.

    Raises:
        DataError: the report is not what the stage download writes.
    """
    if not (root / LEFT_OUT).exists():
        return ""
    tree = read_json(root / LEFT_OUT, made_by=_MADE_BY)
    try:
        sources: Mapping[str, Any] = tree.get("sources") or {"": tree}
        left = sum(int(one["left_out"]["count"]) for one in sources.values())
        rows = sum(int(one["rows_of_the_file"]) for one in sources.values())
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(f"{root / LEFT_OUT}: expected left_out.count and rows_of_the_file", _MADE_BY) from None
    what = f"{counted(rows, 'row')} {word(left, 'was', 'were')} left out, which cannot be used: {LEFT_OUT.name}"
    return f"{left:,} of {what} names them" if left else ""
