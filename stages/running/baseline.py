"""What is said where the last commit's results are another machine's: nothing could be compared with them."""

from __future__ import annotations

from pathlib import Path

from stages.common.results.judge import VERDICTS
from stages.running import committed, digests

_SAID = [
    "the last commit's results are another machine's, which DVC's cache does not have; for comparisons,",
    committed.BASELINE,
]


def baseline_lines() -> list[str]:
    """What to do in a fresh clone after its first run; nothing where the last commit's results are here.

    The results are those in the working directory. Those of the last commit count as another machine's if its dvc.lock
    names other scores than these, and DVC's cache lacks them.
    """
    if not VERDICTS.is_file():
        return []
    there = committed.scores(Path())
    if there is None or there.kept.is_file() or there.digest == digests.md5(VERDICTS):
        return []
    return _SAID
