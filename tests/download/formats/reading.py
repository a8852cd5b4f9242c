"""A dataset in a user's format, read or refused."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from stages.common.errors import ConfigError, DataError
from stages.download.formats import reader
from stages.download.formats.reader import Read
from stages.params.download import DataSource


def read(content: str | bytes, name: str = "rows.csv", **settings: Any) -> Read:
    """What a file with a content holds, by the settings of download.data."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dataset"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        source = DataSource.model_validate({"source": name, "sha256": None, **settings})
        return reader.read(path, source, fix="the fix")


def refused(content: str | bytes, name: str = "rows.csv", **settings: Any) -> DataError | ConfigError:
    """The error for a file that cannot be read."""
    with pytest.raises((DataError, ConfigError)) as raised:
        read(content, name, **settings)
    return raised.value


def lines(*rows: object) -> str:
    """JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def row(instruction: str, output: str, input: str = "", category: str = "uncategorised") -> dict[str, str]:
    """A row of the pipeline."""
    return {"instruction": instruction, "input": input, "output": output, "category": category}
