"""The description of a run: what came of it, who judged, what differs, and links; in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from stages.common.metrics.finetune import FinetuneMetrics
from stages.common.metrics.judge import Interval, JudgeMetrics, ModelScores
from stages.common.printable import printable
from stages.common.secrecy import hidden
from stages.running.tracking.views import DIFFERS, NOTHING

#: MLflow's own tag of a run's description.
NOTE = "mlflow.note.content"
#: The tag with the address of Prefect's page of the run.
PREFECT_URL = "prefect.flow_run_url"
#: The tags of a run whose answers are those of another one, with that one's name and page.
RESCORE_SOURCE, RESCORE_PAGE = "rescore.source", "rescore.page"

#: What the line of a comparison begins with.
COMPARED = "Compared with "

#: What has to be said wherever scores of the built-in judge are shown.
_BUILT_IN = "it compares words with the reference and is no language model: docs/judge.md says how far to believe it"
_LANGUAGE_MODEL = "a language model, whose scores can be compared only with those of the same judge"


def of_results(
    tags: Mapping[str, str], trained: FinetuneMetrics | None, judged: JudgeMetrics | None, compared: Sequence[str] = ()
) -> str:
    """The description of a run with results.

    Args:
        tags: tags of the run.
        trained: figures of the training.
        judged: figures of the judge.
        compared: what comparisons with other runs have found, a line each.
    """
    parts = [*_scores(judged), *_judge(judged), *_loss(trained), *compared]
    return "\n\n".join([*parts, *of_links(tags)])


def of_children(lines: Sequence[str], tags: Mapping[str, str]) -> str:
    """The description of a run with children, such as the trainings of one recipe.

    Args:
        lines: what its children have in common.
        tags: tags of the run.
    """
    return "\n\n".join([*map(_plain, lines), *of_links(tags)])


def with_comparisons(text: str, lines: Sequence[str]) -> str:
    """A description with other comparisons than it had; those of `of_results` begin with `COMPARED`."""
    parts = [part for part in text.split("\n\n") if not part.startswith(COMPARED)]
    return "\n\n".join(filter(None, [*parts, *lines]))


def of_links(tags: Mapping[str, str]) -> list[str]:
    """What differs from the commit, and links to other pages, as far as the tags of a run tell."""
    return list(filter(None, [_differs(tags), prefect_link(tags), rescore_link(tags)]))


def of_end(how: Literal["FAILED", "KILLED"], why: str, tags: Mapping[str, str]) -> str:
    """The description of a run that was broken off.

    Args:
        how: its state.
        why: the stage, and what it said; empty where nobody knows.
        tags: tags of the run.
    """
    words = {"FAILED": "Failed", "KILLED": "Stopped before its end"}[how]
    said = printable(hidden(why)).replace("```", "'''")
    head, _, rest = said.partition("\n")
    text = f"{words}: {_plain(head)}" if head else words
    return "\n\n".join([text, *([f"```text\n{rest}\n```"] if rest else []), *of_links(tags)])


def prefect_link(tags: Mapping[str, str]) -> str:
    """A link to the run in Prefect: MLflow's page makes none of a tag, and cuts it.

    Args:
        tags: tags of the run.
    """
    address = tags.get(PREFECT_URL)
    return f"[This run in Prefect]({address})" if address else ""


def rescore_link(tags: Mapping[str, str]) -> str:
    """A link to the run whose answers a run has scored again; empty for any other run.

    Args:
        tags: tags of the run.
    """
    source, address = tags.get(RESCORE_SOURCE), tags.get(RESCORE_PAGE)
    if not source:
        return ""
    return f"The answers are those of [{source}]({address})" if address else f"The answers are those of {source}"


def _differs(tags: Mapping[str, str]) -> str:
    commit, found = tags.get("git.commit", "")[:7], tags.get(DIFFERS)
    if not commit or not found:
        return ""
    dirty = tags.get("git.dirty") == "true"
    if found == NOTHING:
        return f"Does not differ from commit {commit}{' in its values; other files differ' if dirty else ''}"
    files = "; other files differ from the commit too" if dirty else ""
    return f"Differs from commit {commit} in `{printable(found).replace(chr(96), chr(39))}`{files}"


def _scores(found: JudgeMetrics | None) -> list[str]:
    if found is None or found.tuned.mean is None:
        return []
    before = "" if found.base is None or found.base.mean is None else f", before fine-tuning {found.base.mean:z.1f}"
    line = f"Score {found.tuned.mean:z.1f} of 100{_interval(found.tuned.interval)}{before}."
    if (right := found.tuned.right) is not None:
        was = _right_before(found.base)
        line += f" Right: {right.right} of {right.n}{_interval(right.interval, 100.0, ' %')}{was}."
    return [line]


def _right_before(base: ModelScores | None) -> str:
    return "" if base is None or base.right is None else f", before fine-tuning {base.right.right} of {base.right.n}"


def _judge(found: JudgeMetrics | None) -> list[str]:
    if found is None:
        return []
    caveat = _BUILT_IN if found.judge.measure is not None else _LANGUAGE_MODEL
    return [f"Judge: {_plain(found.judge.marked(found.judge.name))}; {caveat}"]


def _loss(found: FinetuneMetrics | None) -> list[str]:
    if found is None:
        return []
    return [f"Validation loss {found.val_loss:z.3f} at step {found.kept_step}, {found.val_loss_before:z.3f} before"]


def _interval(found: Interval, times: float = 1.0, unit: str = "") -> str:
    """The ends of an interval, in brackets."""
    if found.low is None or found.high is None:
        return " (no interval)"
    return f" (95 % interval {times * found.low:z.1f} to {times * found.high:z.1f}{unit})"


def _plain(text: str) -> str:
    """A text in which Markdown sees no mark: names of models and values are data."""
    return "".join(f"\\{sign}" if sign in "\\`*[]<>#" else sign for sign in " ".join(printable(text).split()))
