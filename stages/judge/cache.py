"""Verdicts that survive a killed run: a JSONL file outside DVC's outputs, to which each verdict is appended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from stages.common.appended import AppendedFile
from stages.common.results.judge import JUDGE_CACHE
from stages.judge.judges.protocol import Judgement, fingerprint
from stages.running.console import say


def cache_path(identity: Mapping[str, str], folder: Path = JUDGE_CACHE) -> Path:
    """The file with the verdicts of one judge. Another model, server, rubric or option has another file."""
    return folder / f"{fingerprint(identity)}.jsonl"


class VerdictCache(AppendedFile[Judgement]):
    """Judgements by `JudgeBackend.key`. Used in a ``with`` block; `put` may be called from several threads.

    Invalid verdicts are kept, because the same judge would give them again. Failed and passing ones are not, because
    the judge may answer the next time. A second process with the same judge waits, and does not repeat the questions of
    the first.
    """

    def __init__(self, path: Path) -> None:
        busy = "another process asks the same judge; waiting until it is done, to take its verdicts over"
        super().__init__(path, parse=_parsed, entry="a cached verdict", busy=busy, say=say)
        self._told = False

    def put(self, key: str, judgement: Judgement) -> bool:
        """Keep a judgement unless it failed or passes; return whether it is kept.

        Where the disk takes no more, that is told once, and judging goes on: a run that comes to its end needs no file
        to go on from.

        Raises:
            DataError: another process has put a file of its own at ``path``.
        """
        if judgement.status == "failed" or judgement.passing:
            return False
        row = {"key": key, "status": judgement.status, "score": judgement.score, "detail": judgement.detail}
        try:
            self.keep(key, json.dumps(row, ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            if not self._told:
                lost = "verdicts are not kept there; an interrupted run asks again"
                say(f"{self.path}: {error.strerror or error}: {lost}")
            self._told = True
            return False
        return True


def _parsed(line: bytes) -> tuple[str, Judgement]:
    """A line's key and judgement.

    Raises:
        ValueError: the line is not a judgement.
    """
    row = json.loads(line)
    try:
        score = {"scored": row["score"], "invalid": None}[row["status"]]
        return str(row["key"]), Judgement(row["status"], None if score is None else float(score), str(row["detail"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a judgement: {error}") from None
