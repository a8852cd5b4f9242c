"""What is said where the last commit's results are another machine's: nothing could be compared with them."""

from __future__ import annotations

from pathlib import Path

from stages.common.errors import DataError
from stages.common.results.judge import VERDICTS
from stages.running import digests, git, lock

_STAGE = "judge"
_SAID = [
    "the last commit's results are another machine's, which DVC's cache does not have; for comparisons,",
    "git commit -am 'My first run' makes these results the baseline",
]


def baseline_lines() -> list[str]:
    """What to do in a fresh clone after its first run; nothing where the last commit's results are here.

    The results are those in the working directory. Those of the last commit count as another machine's if its dvc.lock
    names other scores than these, and DVC's cache lacks them.
    """
    if not VERDICTS.is_file():
        return []
    text = git.ask(Path(), "show", f"HEAD:./{lock.LOCK}")
    try:
        outputs = lock.outputs(text, _STAGE, name=str(lock.LOCK), fix="dvc repro")
        committed = next(output for output in outputs if output.path == VERDICTS)
        ((_, kept),) = lock.files(committed, name=str(lock.LOCK), fix="dvc repro")
        here = digests.md5(VERDICTS)
    except (DataError, StopIteration, ValueError, OSError):
        return []
    return [] if here == committed.digest or kept.is_file() else _SAID
