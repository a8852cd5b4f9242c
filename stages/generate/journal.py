"""Answers that survive a killed run: a file outside DVC's outputs, to which each finished answer is appended."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from stages.common.appended import AppendedFile, remove_unless_open
from stages.common.errors import DataError
from stages.common.results.generate import Response
from stages.running.console import say

#: Journals of a model's other runs that are kept: those used last.
OTHERS_KEPT = 5


class Journal(AppendedFile[Response]):
    """The answers of one run by row id, in the order in which they were finished. Used in a ``with`` block.

    Args:
        path: path of the file, which is named after everything that the answers depend on.
    """

    def __init__(self, path: Path) -> None:
        busy = "another process gives the same answers; waiting until it is done"
        super().__init__(path, parse=_parsed, entry="an answer", busy=busy, say=say)

    def get(self, row: str) -> Response:
        """The answer to a row.

        Raises:
            DataError: the row has no answer, or somebody has shortened the file.
        """
        if (response := super().get(row)) is None:
            raise DataError(f"{self.path}: no answer to the row {row}", f"rm {self.path}")
        return response

    def append(self, response: Response) -> None:
        """Keep an answer. On return it survives the end of this process. The errors are those of `keep`."""
        self.keep(response.id, response.model_dump_json().encode() + b"\n")


def keep_newest(own: Path, pattern: str) -> list[Path]:
    """Remove the journals of other runs but for the `OTHERS_KEPT` used last, and those that hold no answer.

    What a process has open stays.

    Args:
        own: path of this run's journal. It counts as used at this moment, if it is there.
        pattern: pattern of the journals' names.

    Returns:
        The journals of other runs that are left, the one used last first.
    """
    with contextlib.suppress(OSError):
        os.utime(own)
    found: list[tuple[float, Path]] = []
    for path in own.parent.glob(pattern):
        with contextlib.suppress(OSError):
            status = path.stat()
            if path != own and (status.st_size or not _removed(path)):
                found.append((status.st_mtime, path))
    others = [path for _, path in sorted(found, reverse=True)]
    return others[:OTHERS_KEPT] + [path for path in others[OTHERS_KEPT:] if not _removed(path)]


def _removed(path: Path) -> bool:
    """Remove a journal unless a process has it open; whether it is gone."""
    remove_unless_open(path)
    return not path.exists()


def _parsed(line: bytes) -> tuple[str, Response]:
    response = Response.model_validate_json(line)
    return response.id, response
