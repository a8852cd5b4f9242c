"""How far a stage came that was stopped, and where the next run goes on, in words.

A stage tells how far it is in its progress bars, and leaves what it has done in .cache: checkpoints, answers, verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping

from stages.running.progress_file import Work

#: What stages keep as they go. Of a training's checkpoint the step is not told: other trainings share the folder.
_KEPT = {
    "finetune": "its newest checkpoint, if it has saved one",
    "generate": "its last answer",
    "judge": "its last verdict",
}


def words(stage: str, works: Mapping[str, Work]) -> str:
    """What is added to "stopped": how far the stage was and, where it saves its work, where the next run goes on.

    Args:
        stage: name of the stage.
        works: what it has told of its works, in the order in which they began.

    Returns:
        A text that begins with a space; empty where the stage has told nothing.
    """
    if not works:
        return ""
    what, work = [*works.items()][-1]
    of_what = "" if what == stage else f" ({what})"
    at = f" at {work.unit} {work.done:,} of {work.total:,}{of_what}"
    kept = _KEPT.get(stage) if work.done else None
    return f"{at}; the next run with the same code, data and values goes on from {kept}" if kept else at
