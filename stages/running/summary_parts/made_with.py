"""The summary of what made a run: its values beside the committed ones, its data and its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.common.metrics.finetune import FinetuneMetrics
from stages.common.plurals import counted
from stages.params.differences import ABSENT, differences, shown
from stages.running.summary_parts.lines import joined


def changed(committed: Mapping[str, object], made: Mapping[str, object]) -> list[tuple[str, Any, Any]]:
    """The values that results were made with and that are others in a commit: dotted key, value there and here.

    Args:
        committed: params.yaml of the commit, as a tree.
        made: the sections that the results were made with, as a tree.
    """
    compared = {name: section for name, section in committed.items() if name in made}
    # A key that is absent here is one of another version of the program.
    return [found for found in differences(compared, made) if found[2] is not ABSENT]


def values_lines(committed: Mapping[str, object], made: Mapping[str, object], commit: str) -> list[str]:
    """How the values that made the results differ from those of the last commit.

    Args:
        committed: params.yaml of the last commit, as a tree.
        made: the sections that the results were made with, as a tree.
        commit: the commit's short hash.
    """
    found = [f"{key}={shown(now)} ({shown(there)})" for key, there, now in changed(committed, made)]
    if not found:
        return [f"those of the last commit, {commit}"]
    which = f"other than in the last commit, {commit} (its value in brackets):"
    return [joined(which, found)]


def prompt_line(section: Mapping[str, Any]) -> str:
    """The prompt style, the context length and the label mask, from the section tokenize."""
    mask = {"all": "all tokens of the row", "response": "the tokens of the response"}
    loss_on = mask.get(str(section.get("loss_on")), str(section.get("loss_on")))
    return f"style {section.get('prompt_style')}, {section.get('context_length')} tokens at most; loss on {loss_on}"


def recipe_lines(section: Mapping[str, Any], found: FinetuneMetrics) -> list[str]:
    """What is trained, at which learning rate, and where it stopped early.

    Args:
        section: the section finetune that the training was given.
        found: its figures.
    """
    schedule = str(section.get("schedule"))
    if warmup := section.get("warmup_steps"):
        schedule += f" after {counted(warmup, 'warmup step')}"
    lines = [f"learning rate    {section.get('learning_rate')}, {schedule}"]
    if lora := section.get("lora"):
        lines.append(f"LoRA             {_lora(lora, found)}")
    if left := _left_out(section, found):
        lines.append(f"left out         {counted(left, 'row')} of each epoch (drop_last), other ones each time")
    planned = _planned_steps(section, found)
    if planned is not None and found.steps < planned:
        evaluations = counted(section.get("patience", 0), "evaluation")
        why = f"no lower validation loss in {evaluations}"
        lines.append(f"stopped early    at step {found.steps:,} of {planned:,}: {why}")
    if found.kept_step != found.steps:
        lines.append(f"kept weights     those of step {found.kept_step:,}")
    return lines


def _lora(lora: Mapping[str, Any], found: FinetuneMetrics) -> str:
    where = f"rank {lora.get('rank')}, alpha {lora.get('alpha')}, on {', '.join(lora.get('targets', ()))}"
    if found.trained_parameters is None:
        return where
    share = 100 * found.trained_parameters / found.parameters
    trained = f"{found.trained_parameters:,} of {found.parameters:,} parameters trained ({share:.2g} %)"
    return f"{where}; {trained}"


def _left_out(section: Mapping[str, Any], found: FinetuneMetrics) -> int:
    """The train rows that do not fill a batch of an epoch; 0 where the section is not of this version."""
    try:
        return int(found.rows_train % section["batch_size"]) if section["drop_last"] else 0
    except (KeyError, TypeError):
        return 0


def _planned_steps(section: Mapping[str, Any], found: FinetuneMetrics) -> int | None:
    """The steps that the recipe makes of the train rows; None where the section is not of this version."""
    an_epoch = found.batches_of_an_epoch(section)
    if an_epoch is None:
        return None
    try:
        steps = int(an_epoch * section["epochs"])
        return steps if section["max_steps"] is None else min(steps, int(section["max_steps"]))
    except (KeyError, TypeError):
        return None
