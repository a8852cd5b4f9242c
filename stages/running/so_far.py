"""How far a stage came that was stopped, and where the next run goes on, in words.

A stage tells how far it is in its progress bars, and leaves what it has done in .cache: checkpoints, answers, verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stages.common import paths
from stages.running.progress_file import Work

#: The checkpoints of all trainings, each named after its step; `stages.finetune.checkpoint` makes them.
_CHECKPOINTS = "finetune/*/step-[0-9]*"
#: What other stages keep as they go.
_KEPT = {"generate": "its last answer", "judge": "its last verdict"}


def words(stage: str, works: Mapping[str, Work], since: float, cache: Path = paths.CACHE) -> str:
    """What is added to "stopped": how far the stage was and, where it has saved something, where the next run goes on.

    Args:
        stage: name of the stage.
        works: what it has told of its works, in the order in which they began.
        since: when it began, in seconds since 1970: what was saved earlier is not its own.
        cache: the folder .cache that it works with.

    Returns:
        A text that begins with a space; empty where the stage has told nothing.
    """
    if not works:
        return ""
    what, work = [*works.items()][-1]
    of_what = "" if what == stage else f" ({what})"
    at = f" at {work.unit} {work.done:,} of {work.total:,}{of_what}"
    saved = _saved(stage, work, since, cache)
    return f"{at}; the next run with the same code, data and values goes on from {saved}" if saved else at


def _saved(stage: str, work: Work, since: float, cache: Path) -> str:
    """What the stage has saved, in words; empty where it is not known to have saved anything."""
    if stage != "finetune":
        return _KEPT.get(stage, "") if work.done else ""
    found = [(at.stat().st_mtime, at.name) for at in cache.glob(_CHECKPOINTS) if at.is_dir()]
    own = [name for time, name in found if time >= since]
    return f"the checkpoint of step {int(max(own).removeprefix('step-')):,}" if own else ""
