"""What fine-tuning takes, as far as it is known before a run (`stages.running.checks.asking`).

What depends on the rows' lengths is not known before they are tokenised. The stage itself then says it, before it
trains (`stages.finetune.costs.memory`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from stages.common import paths
from stages.common.errors import ConfigError, DataError, NoSpace
from stages.common.metrics.tokenize import TokenizeMetrics
from stages.common.records import read_metrics
from stages.common.results.finetune import TUNED_MODEL
from stages.common.results.tokenize import TOKENS_METRICS
from stages.finetune import few_steps
from stages.finetune.costs import disk
from stages.finetune.costs.weights import Weights
from stages.finetune.steps import planned_steps
from stages.gpt2.tokenizer import VOCABULARY_SIZE
from stages.params.finetune import Finetune
from stages.params.whole import Params
from stages.running import devices, machine
from stages.running.checks.row import Row, ok, problem, warning
from stages.running.checks.users_folder import there
from stages.running.console import duration, size
from stages.running.costs import TRAINING_COSTS, TrainingCosts
from stages.split.expected import division_if_sound

#: Bytes a weight at least: in fp32 the weight, its gradient and AdamW's two moments; in bf16 two of each of the first
#: two, the fp32 weight and the moments. A weight that is not trained takes 4, or 6 in bf16.
TRAINED, FROZEN = 16, 4
#: Steps that say how fast a training is, as `stages.finetune.costs.ledger` waits for them; the first is left out.
FEWEST = 6


def rows(params: Params) -> Iterator[Row]:
    """Memory, disk and time, as far as sizes alone say them."""
    weights = Weights.of(params.download.model, params.finetune, vocab_size=VOCABULARY_SIZE)
    yield _memory(params, weights)
    yield _disk(params, weights)
    yield _time(params, weights)


def further(params: Params) -> Iterator[Row]:
    """The steps, where the train rows can be counted."""
    if (found := division_if_sound(params.download.data, params.split)) is not None:
        yield few_steps.row_of(len(found["train"]), params.finetune)


def _memory(params: Params, weights: Weights) -> Row:
    recipe, name = params.finetune, "finetune memory"
    least = TRAINED * weights.trained + FROZEN * (weights.all - weights.trained)
    least += 4 * weights.trained * (recipe.patience is not None)
    told = f"{weights.all:,} weights take {size(least)} at least; what batches add is known once rows are tokenised"
    if devices.visible_devices():
        return ok(name, f"{told}; it trains on a GPU, whose memory is asked then")
    free = machine.free_memory()
    processes = recipe.devices if recipe.parallel == "ddp" else 1
    if least * processes > free:
        fix = "take a smaller model (download.model), set finetune.lora, or end what else takes memory"
        return warning(name, f"{told}; only {size(free)} are free", fix)
    return ok(name, f"{told}; {size(free)} are free")


def _disk(params: Params, weights: Weights) -> Row:
    name, folder = "finetune disk", paths.CACHE / "finetune"
    checkpoint = disk.state_bytes(weights.trained, params.finetune)
    model = 4 * weights.all
    room = disk.Room.of(folder, there(TUNED_MODEL), checkpoint=checkpoint, at_once=disk.AT_ONCE, model=model)
    if lacking := room.lacking():
        return problem(name, NoSpace(lacking, "free some space, for instance by `dvc gc -w`"))
    told = room.told()
    return ok(name, told) if room.enough else warning(name, told, "free some space, for instance by `dvc gc -w`")


def _time(params: Params, weights: Weights) -> Row:
    """By the last training here and the tokens of the last tokenisation, if there were any."""
    name, recipe = "finetune time", params.finetune
    try:
        last = read_metrics(there(TRAINING_COSTS), TrainingCosts, made_by="dvc repro finetune")
    except DataError:
        return ok(name, "not known beforehand: nothing was trained here yet; it is told after six steps")
    try:
        counts = read_metrics(there(TOKENS_METRICS), TokenizeMetrics, made_by="dvc repro tokenize").train
    except DataError:
        return ok(name, "not known beforehand: no rows are tokenised in this folder yet; it is told after six steps")
    if last.steps < FEWEST or not (last.tokens_per_second and last.plain_training_tflop):
        return ok(name, "not known beforehand: the last training here was too short; it is told after six steps")
    try:
        steps = planned_steps(counts.rows, recipe)
    except ConfigError as error:
        return ok(name, f"not known beforehand: {error.what}")
    rows = min(steps * recipe.batch_size, recipe.epochs * counts.rows)
    seconds = _seconds(last, weights, recipe, steps=steps, tokens=rows * counts.tokens / counts.rows)
    return ok(name, f"about {duration(seconds)}, if the rows stay as they are, at the pace of the last training here")


def _seconds(last: TrainingCosts, weights: Weights, recipe: Finetune, *, steps: int, tokens: float) -> float:
    """The seconds of a training by those of the last one, in which its start and its evaluations are taken apart.

    Args:
        last: the costs of the last training; it has `FEWEST` steps or more.
        weights: the weights of the model.
        recipe: the section finetune.
        steps: optimiser steps that the recipe makes.
        tokens: tokens of the rows of these steps.
    """
    its_steps = last.useful_tokens / (last.tokens_per_second or math.inf)
    # What does not grow with the steps: imports, the model, the first step's extra time, and the files at the end.
    fixed = max(last.seconds - its_steps - last.evaluation_seconds, 0.0)
    # A token's work beside that of the last training, whose model may have been another.
    larger = 6 * weights.all / (1e12 * last.plain_training_tflop / last.useful_tokens)
    of_steps = its_steps * tokens / last.useful_tokens
    evaluation = last.evaluation_seconds / max(last.evaluations, 1)
    return fixed + larger * (of_steps + evaluations(steps, recipe.eval_every) * evaluation)


def evaluations(steps: int, every: int) -> int:
    """How often a training evaluates: before its first step, every so many steps, and after its last one."""
    return 1 + -(-steps // every)
