"""Files of token rows as lists of dictionaries, to be read and changed by tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.common import token_files
from stages.common.results.tokenize import Encoded
from stages.common.token_files import TokenBatch, TokenRows


def read(path: Path) -> list[dict[str, Any]]:
    return [row.model_dump() for row in TokenRows(path, made_by="x")]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    token_files.write(path, [TokenBatch.of([Encoded(**row) for row in rows])])
