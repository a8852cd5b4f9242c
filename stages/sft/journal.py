"""Answers that outlive a killed run: a file outside DVC's outputs to which each is appended as it is finished."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from stages.common.console import say
from stages.common.errors import DataError
from stages.common.records import Response


class Journal:
    """One run's answers in the order in which they were finished, a line each. Used in a ``with`` block.

    A run that is killed while it writes leaves half a line at the end, which is dropped. Two processes never have one
    journal open at a time: the second waits, and the kernel frees the file at any death of its holder. Read from the
    front a window at a time, so that memory does not grow with the answers.

    Args:
        path: the file, named after everything that the answers depend on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while not self._open():
            self._file.close()
        self._drop_half_a_line()
        self._reader = open(self.path, "rb")
        return self

    def _open(self) -> bool:
        """Open and lock the file; whether it is still there then, as the one who had the lock removes it at its end."""
        self._file = open(self.path, "a+b", buffering=0)  # noqa: SIM115, closed in __exit__
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process gives the same answers; waiting until it is done")
            fcntl.flock(self._file, fcntl.LOCK_EX)
        return self.path.exists() and self.path.samefile(f"/dev/fd/{self._file.fileno()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()
        self._file.close()

    def rewind(self) -> None:
        """Read from the front again."""
        self._reader.seek(0)

    def take(self, ids: Collection[str]) -> dict[str, Response]:
        """The next answers in the file, up to the first that is to none of these rows; by row.

        Raises:
            DataError: a line is not an answer.
        """
        found: dict[str, Response] = {}
        self._taken_from = self._reader.tell()
        while len(found) < len(ids):
            start = self._reader.tell()
            line = self._reader.readline()
            if not line:
                break
            try:
                response = Response.model_validate_json(line)
            except ValidationError:
                raise DataError(f"{self.path}, byte {start}: not an answer", f"rm {self.path}") from None
            if response.id not in ids:
                self._reader.seek(start)
                break
            found[response.id] = response
        return found

    def append(self, response: Response) -> None:
        """Keep an answer: on return it survives the end of this process."""
        os.write(self._file.fileno(), response.model_dump_json().encode() + b"\n")

    def skip_to_end(self) -> None:
        """Read on behind what has been appended."""
        self._reader.seek(0, os.SEEK_END)

    def untake(self) -> None:
        """Drop the answers that the last `take` gave; nothing may stand behind them."""
        self._file.truncate(self._taken_from)
        self._reader.seek(self._taken_from)

    def clear(self) -> None:
        """Remove the file: its answers are elsewhere now."""
        self.path.unlink(missing_ok=True)

    def _drop_half_a_line(self) -> None:
        end = self._file.seek(0, os.SEEK_END)
        while end:
            self._file.seek(end - 1)
            if self._file.read(1) == b"\n":
                break
            end -= 1
        self._file.truncate(end)
