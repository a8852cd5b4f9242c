"""A file to which one process at a time appends lines, each of which survives a kill of the process."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from stages.common.errors import DataError
from stages.common.files import naming
from stages.common.locks import leads_to, locked_if_possible, open_locked

V = TypeVar("V")

#: Bytes read at a time; more than nearly any line.
_PIECE = 1 << 11
#: Bytes copied at a time.
_BLOCK = 1 << 20


class AppendedFile(Generic[V]):
    """Entries by key, one line each, in the order in which they came. Used in a ``with`` block.

    A process that is killed while it writes leaves half a line at the end, which the next one drops. Two processes
    never have the file open at the same time: the second waits, and the kernel frees the file however the first one
    ends. Several threads may use one object.

    An index in memory holds the offset of each entry, about 130 bytes an entry. The entries themselves are read from
    the file on request. If a key was kept twice, the later entry counts.

    Args:
        path: path of the file.
        parse: function that returns the key and the value of a line, or raises a ValueError.
        entry: name of what a line holds, for messages: "an answer".
        busy: message before waiting for another process.
        say: function that prints a message.
    """

    def __init__(
        self,
        path: Path,
        *,
        parse: Callable[[bytes], tuple[str, V]],
        entry: str,
        busy: str,
        say: Callable[[str], object],
    ) -> None:
        self.path = path
        self._parse, self._entry, self._busy, self._say = parse, entry, busy, say
        self._writing = threading.Lock()
        self._offsets: dict[bytes, int] = {}
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Wait for the file, then index its lines.

        Raises:
            DataError: a line that is not the last cannot be read.
        """
        self._descriptor = open_locked(self.path, on_busy=lambda: self._say(self._busy))
        try:
            self._offsets = self._index()
        except BaseException:
            self._close()
            raise
        return self

    def _index(self) -> dict[bytes, int]:
        """The offset of each entry. Half a line at the end is cut off."""
        offsets: dict[bytes, int] = {}
        offset = 0
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        with open(self._descriptor, "rb", closefd=False) as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    os.ftruncate(self._descriptor, offset)
                    break
                try:
                    key, _ = self._parse(line)
                except ValueError:
                    what = f"{self.path}, line {number}: not {self._entry}"
                    raise DataError(what, f"rm {self.path}") from None
                offsets[_short(key)] = offset
                offset += len(line)
        return offsets

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        with self._writing:  # a thread that comes too late must not write into another file with the same number
            os.close(self._descriptor)
            self._descriptor = -1

    def __len__(self) -> int:
        """How many keys have an entry."""
        return len(self._offsets)

    def __contains__(self, key: str) -> bool:
        """Whether a key has an entry."""
        return _short(key) in self._offsets

    def get(self, key: str) -> V | None:
        """The value kept under a key; None if there is none.

        Raises:
            DataError: the file ends in the middle of the entry, because somebody else has shortened it.
        """
        offset = self._offsets.get(_short(key))
        if offset is None:
            return None
        line = b""
        while not line.endswith(b"\n"):
            piece = os.pread(self._descriptor, _PIECE, offset + len(line))
            if not piece:
                what = f"{self.path}, byte {offset}: expected {self._entry}, found the end of the file"
                raise DataError(what, f"rm {self.path}")
            line += piece
            line = line[: line.find(b"\n") + 1] or line
        return self._parse(line)[1]

    def keep(self, key: str, line: bytes) -> None:
        """Append an entry. On return it is in the file at ``path`` and survives the end of this process.

        Args:
            key: what `parse` finds in the line.
            line: the whole line with its line feed.

        Raises:
            OSError: the disk is full, for example. No part of the line stays in the file.
            DataError: another process has put a file of its own at ``path``.
        """
        with self._writing:
            if not leads_to(self.path, self._descriptor):
                self._put_back()
            with naming(self.path):
                self._offsets[_short(key)] = whole(self._descriptor, line)

    def _put_back(self) -> None:
        """Put a copy of this file at ``path``, from where somebody has removed it, and go on with the copy.

        The open file still holds every entry, and hours of work should not end because a cache was cleaned up.
        """
        try:
            copy = open_locked(self.path)
        except BlockingIOError:
            raise self._replaced() from None
        try:
            if os.fstat(copy).st_size:
                raise self._replaced()
            self._say(f"{self.path} was removed while it was in use: writing it again; entries so far: {len(self):,}")
            _copy(self._descriptor, copy)
            # Atomic: a thread that reads at this moment finds the same bytes in either file.
            os.dup2(copy, self._descriptor, inheritable=False)
        finally:
            os.close(copy)

    def _replaced(self) -> DataError:
        return DataError(
            f"{self.path}: another process has replaced the file that this process uses",
            "run the same command again when the other process is done",
        )

    def mark(self) -> int:
        """Where the file ends now, for `forget_since`."""
        with self._writing:
            return os.fstat(self._descriptor).st_size

    def forget_since(self, mark: int) -> None:
        """Drop what was kept after `mark` was called."""
        with self._writing:
            os.ftruncate(self._descriptor, mark)
            self._offsets = self._index()  # a key may have an earlier entry too

    def clear(self) -> None:
        """Remove the file: what it held is kept elsewhere."""
        if leads_to(self.path, self._descriptor):
            self.path.unlink()


def remove_unless_open(path: Path) -> None:
    """Remove an appended file that no process has open."""
    with locked_if_possible(path) as ours:
        if ours:
            path.unlink(missing_ok=True)


def whole(descriptor: int, data: bytes) -> int:
    """Write all of ``data`` to the end of a file, or nothing of it; returns the offset at which it begins."""
    offset = os.fstat(descriptor).st_size
    try:
        written = 0
        while written < len(data):  # a nearly full disk takes a part
            written += os.write(descriptor, data[written:])
    except BaseException:
        os.ftruncate(descriptor, offset)
        raise
    return offset


def _copy(source: int, target: int) -> None:
    """Write a file's bytes to an empty one, or leave it empty."""
    try:
        offset = 0
        while block := os.pread(source, _BLOCK, offset):
            whole(target, block)
            offset += len(block)
    except BaseException:
        os.ftruncate(target, 0)
        raise


def _short(key: str) -> bytes:
    """16 bytes that stand for a key of any length. Two keys with the same ones are not met among 10**15."""
    return hashlib.blake2b(key.encode(), digest_size=16).digest()
