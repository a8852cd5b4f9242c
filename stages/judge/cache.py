"""Verdicts that outlive a killed run: a JSONL file outside DVC's outputs to which each is appended as it comes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from stages.common.errors import DataError
from stages.common.results.judge import JUDGE_CACHE
from stages.judge.judges.protocol import Judgement, fingerprint
from stages.running.console import say


def cache_path(identity: Mapping[str, str], folder: Path = JUDGE_CACHE) -> Path:
    """The file that holds the verdicts of one judge: another model, digest, server, rubric or option, another file."""
    return folder / f"{fingerprint(identity)}.jsonl"


#: Bytes read at a time; more than nearly any line.
_PIECE = 1 << 11


class VerdictCache:
    """Judgements by `JudgeBackend.key`. Used in a ``with`` block; `put` may be called from several threads.

    A run that is killed while it writes leaves half a line at the end, which is dropped. Verdicts that are no score are
    kept, as the same judge has nothing else to say; those that failed are not: asking again may bring one. Two
    processes never have one file open at a time: the second waits, which saves it from asking what the first asks, and
    the kernel frees the file at any death of its holder.

    In memory is where each judgement is in the file, and no more of it: some 130 bytes.

    Raises:
        DataError: a line that is not the last cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._places: dict[bytes, int] = {}

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "a+b")
        try:
            self._wait_for_lock()
            self._read()
        except BaseException:
            self._file.close()
            raise
        return self

    def _wait_for_lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process asks the same judge; waiting until it is done, to take its verdicts over")
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def _read(self) -> None:
        self._file.seek(0)
        place = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                self._file.truncate(place)
                break
            try:
                key, _ = _parsed(line)
            except (ValueError, KeyError, TypeError):
                raise DataError(f"{self.path}, line {number}: not a cached verdict", f"rm {self.path}") from None
            self._places[_short(key)] = place
            place += len(line)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def get(self, key: str) -> Judgement | None:
        """The judgement kept under a key.

        Raises:
            DataError: the file ends in the middle of it: somebody else has cut it off.
        """
        place = self._places.get(_short(key))
        if place is None:
            return None
        line = b""
        while not line.endswith(b"\n"):
            piece = os.pread(self._file.fileno(), _PIECE, place + len(line))
            if not piece:
                raise DataError(f"{self.path}, byte {place}: the verdict there is cut off", f"rm {self.path}")
            line += piece
            line = line[: line.find(b"\n") + 1] or line
        return _parsed(line)[1]

    def put(self, key: str, judgement: Judgement) -> bool:
        """Keep a judgement unless it failed, and say whether it is kept: it then survives the end of this process.

        Raises:
            OSError: the disk is full, say. What was written of the judgement is taken back.
        """
        if judgement.status == "failed":
            return False
        row = {"key": key, "status": judgement.status, "score": judgement.score, "detail": judgement.detail}
        line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            place = os.fstat(self._file.fileno()).st_size
            try:
                written = 0
                while written < len(line):  # a nearly full disk takes a part
                    written += os.write(self._file.fileno(), line[written:])
            except BaseException:
                self._file.truncate(place)
                raise
            self._places[_short(key)] = place
        return True

    def mark(self) -> int:
        """Where the file ends now, for `forget_since`."""
        with self._lock:
            return os.fstat(self._file.fileno()).st_size

    def forget_since(self, mark: int) -> None:
        """Drop what was put after `mark` was called."""
        with self._lock:
            self._places = {key: place for key, place in self._places.items() if place < mark}
            self._file.truncate(mark)

    def __len__(self) -> int:
        return len(self._places)


def _parsed(line: bytes) -> tuple[str, Judgement]:
    """A line's key and judgement.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    row = json.loads(line)
    score = {"scored": row["score"], "invalid": None}[row["status"]]
    return row["key"], Judgement(row["status"], None if score is None else float(score), str(row["detail"]))


def _short(key: str) -> bytes:
    """16 bytes for a key, which take less room than its 64 digits and are not met twice."""
    return hashlib.blake2b(key.encode(), digest_size=16).digest()
