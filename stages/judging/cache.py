"""Verdicts that outlive a killed run: a JSONL file outside DVC's outputs to which each is appended as it comes."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from stages.common import paths
from stages.common.console import say
from stages.common.errors import DataError
from stages.judging.judge import Judgement, fingerprint


def cache_path(identity: Mapping[str, str], folder: Path = paths.JUDGE_CACHE) -> Path:
    """The file that holds the verdicts of one judge: another model, digest, server, rubric or option, another file."""
    return folder / f"{fingerprint(identity)}.jsonl"


class VerdictCache:
    """Judgements by `Judge.key`. Used in a ``with`` block; `put` may be called from several threads.

    A run that is killed while it writes leaves half a line at the end, which is dropped. Verdicts that are no score are
    kept, as the same judge has nothing else to say; those that failed are not: asking again may bring one. Two
    processes never have one file open at a time: the second waits, which saves it from asking what the first asks, and
    the kernel frees the file at any death of its holder.

    Raises:
        DataError: a line that is not the last cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._kept: dict[str, Judgement] = {}
        self._new: list[tuple[int, str]] = []

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
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            self._file.truncate(len(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                row = json.loads(line)
                score = {"scored": row["score"], "invalid": None}[row["status"]]
                self._kept[row["key"]] = Judgement(row["status"], score and float(score), str(row["detail"]))
            except (ValueError, KeyError, TypeError):
                raise DataError(f"{self.path}, line {number}: not a cached verdict", f"rm {self.path}") from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def get(self, key: str) -> Judgement | None:
        """The judgement kept under a key."""
        return self._kept.get(key)

    def put(self, key: str, judgement: Judgement) -> None:
        """Keep a judgement unless it failed: on return it survives the end of this process."""
        if judgement.status == "failed":
            return
        row = {"key": key, "status": judgement.status, "score": judgement.score, "detail": judgement.detail}
        line = json.dumps(row, ensure_ascii=False)
        with self._lock:
            self._kept[key] = judgement
            self._new.append((os.fstat(self._file.fileno()).st_size, key))
            os.write(self._file.fileno(), line.encode() + b"\n")

    def mark(self) -> int:
        """Where the file ends now, for `forget_since`."""
        with self._lock:
            return os.fstat(self._file.fileno()).st_size

    def forget_since(self, mark: int) -> None:
        """Drop what was put after `mark` was called."""
        with self._lock:
            for place, key in self._new:
                if place >= mark:
                    self._kept.pop(key, None)
            self._new = [(place, key) for place, key in self._new if place < mark]
            self._file.truncate(mark)

    def __len__(self) -> int:
        return len(self._kept)
