"""What came of making results again: stage by stage, the outputs that are equal and those that are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.again.original import Original
from stages.common.plurals import counted, word
from stages.running.tracking.metric_names import KEPT_LOSS, RIGHT_N, RIGHT_OF, SCORE, SCORE_LOWER, SCORE_UPPER

#: Figures that are shown beside each other, by the stage that makes them.
FIGURES = {
    "finetune": (KEPT_LOSS,),
    "judge": (SCORE, SCORE_LOWER, SCORE_UPPER, RIGHT_N, RIGHT_OF),
}
#: Digits of an MD5 that are shown, and outputs that are named at most.
_DIGITS, _MOST = 7, 6
_WIDTH = 12


@dataclass(frozen=True)
class StageOutcome:
    """A stage that was made again.

    Args:
        stage: its name.
        then: MD5 of each output by path, as it was.
        now: the same, as it is.
        inputs_differ: whether it read the output of an earlier stage that differs.
    """

    stage: str
    then: Mapping[Path, str]
    now: Mapping[Path, str]
    inputs_differ: bool = False

    @property
    def differing(self) -> list[Path]:
        """The outputs that are not equal."""
        return [path for path, md5 in self.then.items() if self.now.get(path) != md5]

    @property
    def equal(self) -> bool:
        """Whether all outputs that are known of then are equal."""
        return not self.differing


def compared(original: Original, now: Mapping[str, Mapping[Path, str]]) -> list[StageOutcome]:
    """The stages of the original beside what was made again.

    Args:
        original: what was to be made again.
        now: MD5 of each output by path, for each stage, as `original.outputs`.
    """
    found: list[StageOutcome] = []
    wrong: set[str] = set()
    for stage, then in original.outputs.items():
        read = {str(one["path"]) for one in original.lock.get(stage, {}).get("deps") or ()}
        one = StageOutcome(stage, then, now.get(stage, {}), inputs_differ=bool(read & wrong))
        wrong |= {str(path) for path in one.differing}
        found.append(one)
    return found


def stage_lines(found: Sequence[StageOutcome], then: Mapping[str, float], now: Mapping[str, float]) -> Iterator[str]:
    """The lines of the table: a line for each stage, and below one that differs its outputs and its figures.

    Args:
        found: the stages, in their order.
        then: figures of the original by their names in MLflow.
        now: the same of what was made again.
    """
    width = max(len(one.stage) for one in found)
    for number, one in enumerate(found):
        head = f"{'stages' if not number else '':<{_WIDTH}}{one.stage:<{width}}  "
        if one.equal:
            yield f"{head}equal    {counted(len(one.then), 'output')}"
            continue
        because = ", of other inputs" if one.inputs_differ else ""
        yield f"{head}differs  {len(one.differing)} of {counted(len(one.then), 'output')}{because}"
        below = " " * (_WIDTH + width + 2)
        shown = one.differing[:_MOST]
        yield from (f"{below}{path}  {_short(one.then[path])} → {_short(one.now.get(path))}" for path in shown)
        if more := len(one.differing) - len(shown):
            yield f"{below}and {more} more"
        for name in FIGURES.get(one.stage, ()):
            if name in then and name in now:
                yield f"{below}{name}  {then[name]:.6g} → {now[name]:.6g}"


def result_line(found: Sequence[StageOutcome]) -> str:
    """The last line: how many stages are equal, and where the first difference is."""
    wrong = [one.stage for one in found if not one.equal]
    if not wrong:
        return f"{'result':<{_WIDTH}}equal: all {counted(len(found), 'stage')} made the same bytes again"
    others = f"; {', '.join(wrong[1:])} {word(len(wrong) - 1, 'follows', 'follow')}" if len(wrong) > 1 else ""
    right = f"{len(found) - len(wrong)} of {counted(len(found), 'stage')} equal"
    return f"{'result':<{_WIDTH}}{right}; {wrong[0]} is the first that differs{others}"


def _short(md5: str | None) -> str:
    return "nothing" if md5 is None else md5[:_DIGITS]
