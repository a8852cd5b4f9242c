"""Answers that survive a killed run: a file outside DVC's outputs, to which each finished answer is appended."""

from __future__ import annotations

from pathlib import Path

from stages.common.appended import AppendedFile
from stages.common.errors import DataError
from stages.common.results.generate import Response
from stages.running.console import say


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


def _parsed(line: bytes) -> tuple[str, Response]:
    response = Response.model_validate_json(line)
    return response.id, response
