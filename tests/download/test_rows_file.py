"""Rows in files, beside the way in which json writes them."""

from __future__ import annotations

import io
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from stages.download.rows_file import DatasetWriter, RowsOnDisk

rows = st.lists(st.dictionaries(st.text(min_size=1), st.text(st.characters(exclude_categories=("Cs",))), min_size=1))


@given(rows)
def test_rows_are_written_as_json_writes_them(rows: list[dict[str, str]]) -> None:
    stream = io.StringIO()
    writer = DatasetWriter(stream)
    for row in rows:
        writer.append(row)
    writer.close()

    assert len(writer) == len(rows)
    assert stream.getvalue() == json.dumps(rows, ensure_ascii=False, indent=2) + "\n"


def test_rows_on_disk_come_back_by_number(tmp_path: Path) -> None:
    kept = RowsOnDisk(tmp_path / "rows")
    for text in ("a", "ü\n", ""):
        kept.append({"instruction": text})

    assert (len(kept), kept[1], kept[2], kept[0]) == (3, *({"instruction": text} for text in ("ü\n", "", "a")))
    kept.close()
