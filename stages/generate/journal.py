"""Answers that outlive a killed run: a file outside DVC's outputs to which each is appended as it is finished."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from stages.common.errors import DataError
from stages.common.results.generate import Response
from stages.running.console import say


class Journal:
    """One run's answers in the order in which they were finished, a line each. Used in a ``with`` block.

    A run that is killed while it writes leaves half a line at the end, which is dropped. Two processes never have one
    journal open at a time: the second waits, and the kernel frees the file at any death of its holder. What is kept in
    memory is where each answer begins, about 200 bytes a row with its id; the answers are read when they are asked for.

    Args:
        path: the file, named after everything that the answers depend on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, int] = {}
        self._end = 0  # where the last whole line ends

    def __enter__(self) -> Self:
        """Wait for the file, and look through what is in it.

        Raises:
            DataError: a line is not an answer.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while not self._open():
            self._file.close()
        self._reader = open(self.path, "rb")
        try:
            self._look_through()
        except BaseException:
            self._close()
            raise
        return self

    def _open(self) -> bool:
        """Open and lock the file; whether it is still there then, as the one who had the lock may have removed it."""
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115, closed in _close
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process gives the same answers; waiting until it is done")
            fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def _look_through(self) -> None:
        for line in self._reader:
            if not line.endswith(b"\n"):
                self._file.truncate(self._end)
                break
            try:
                response = Response.model_validate_json(line)
            except ValidationError:
                raise DataError(f"{self.path}, byte {self._end}: not an answer", f"rm {self.path}") from None
            self._places[response.id] = self._end
            self._end += len(line)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._reader.close()
        self._file.close()

    def __len__(self) -> int:
        """How many rows have an answer."""
        return len(self._places)

    def __contains__(self, row: str) -> bool:
        """Whether a row, by its id, has an answer."""
        return row in self._places

    def get(self, row: str) -> Response:
        """The answer to a row.

        Raises:
            DataError: there is none.
        """
        if row not in self._places:
            raise DataError(f"{self.path}: no answer to the row {row}", f"rm {self.path}")
        self._reader.seek(self._places[row])
        return Response.model_validate_json(self._reader.readline())

    def append(self, response: Response) -> None:
        """Keep an answer: on return it survives the end of this process.

        Raises:
            OSError: the disk is full, say. What was written of the answer is taken back.
        """
        line = response.model_dump_json().encode() + b"\n"
        try:
            written = 0
            while written < len(line):  # a nearly full disk takes a part
                written += os.write(self._file.fileno(), line[written:])
        except BaseException:
            self._file.truncate(self._end)
            raise
        self._places[response.id] = self._end
        self._end += len(line)

    def clear(self) -> None:
        """Remove the file: its answers are elsewhere now."""
        self.path.unlink(missing_ok=True)


def remove_unless_open(path: Path) -> None:
    """Remove a journal that no process has open."""
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except (BlockingIOError, FileNotFoundError):
        pass
