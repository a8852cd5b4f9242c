"""Fine-tuning with more processes, longer rows and larger models."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks import alpaca_like, child
from benchmarks.scaling import stage_runs
from benchmarks.scaling.figures import Point
from stages.common import cores

SEED = 17
#: Steps of each training; the first is not counted.
PROCESS_STEPS, CONTEXT_STEPS, MODEL_STEPS = 24, 4, 4
#: Rows of a step where the context or the model grows.
BATCH = 8
#: The longest sequence of GPT-2, in tokens.
POSITIONS = 1024
#: Blocks, heads and width of the models: the smallest, that of the profile quick, and the published ones that
#: benchmarks/task.py measures beside others.
SIZES = {"tiny": (2, 2, 16), "quick": (2, 4, 128), "gpt2": (12, 12, 768), "gpt2-medium": (24, 16, 1024)}
VOCABULARY = 50257
#: Bytes a parameter that training takes at least: fp32 weights, AdamW's moments, gradients, bf16 weights, and logits.
BYTES_A_PARAMETER = 22


def processes(folder: Path, counts: Sequence[int]) -> tuple[list[Point], list[str]]:
    """Train the quick profile with a number of processes, each with one thread; and alone with all cores.

    Args:
        folder: a folder that is not there yet.
        counts: numbers of processes.
    """
    made = stage_runs.make_folder(folder, _bundled(), {})
    for stage in ("download", "split", "tokenize"):
        stage_runs.run(stage, made)
    there = cores.available()
    one_core = [(count, 1) for count in counts]
    all_cores = [(1, there)] if there > 1 else []
    found = []
    for count, threads in (*all_cores, *one_core):
        values = _recipe(PROCESS_STEPS) | {"devices": count, "precision": stage_runs.PRECISION}
        variables = {"OMP_NUM_THREADS": str(threads)}
        simulated = f"simulated: there are {there} cores" if count > there else ""
        series = "a thread each" if threads == 1 else "one process with all cores"
        found.append(_trained(made, values, Point(series, count, 0, 0, note=simulated), variables=variables))
    return found, []


def context(folder: Path, lengths: Sequence[int]) -> tuple[list[Point], list[str]]:
    """Train the quick model on rows of a number of tokens.

    Args:
        folder: a folder that is not there yet.
        lengths: numbers of tokens, none above `POSITIONS`.
    """
    model = {"download": {"model": {"n_positions": POSITIONS}}, "split": {"train": 0.8, "test": 0.1}}
    made = stage_runs.make_folder(folder, long_rows(10 * BATCH, max(lengths)), model)
    for stage in ("download", "split"):
        stage_runs.run(stage, made)
    found = []
    for length in lengths:
        values = _recipe(CONTEXT_STEPS) | {"batch_size": BATCH, "precision": stage_runs.PRECISION}
        tree = model | {"tokenize": {"context_length": length, "loss_on": "all"}}
        stage_runs.set_params(made, tree)
        stage_runs.run("tokenize", made)
        found.append(_trained(made, values, Point("the quick model", length, 0, 0), tree=tree))
    return found, []


def model(folder: Path, names: Sequence[str]) -> tuple[list[Point], list[str]]:
    """Train models of the sizes of `SIZES` on the same rows; one that the machine has no memory for is left out.

    Args:
        folder: a folder that is not there yet.
        names: names in `SIZES`.
    """
    found, left_out = [], []
    for name in names:
        layers, heads, width = SIZES[name]
        count = parameters(layers, width, POSITIONS)
        if (least := count * BYTES_A_PARAMETER) > (free := psutil.virtual_memory().available):
            left_out.append(f"{name}: it takes {least / 2**30:.1f} GiB at least, and {free / 2**30:.1f} are free")
            continue
        sizes = {"n_layer": layers, "n_head": heads, "n_embd": width, "n_positions": POSITIONS}
        tree: dict[str, Any] = {"download": {"model": sizes}, "split": {"train": 0.8, "test": 0.1}}
        tree["tokenize"] = {"loss_on": "all"}
        made = stage_runs.make_folder(folder / name, itertools.islice(_bundled(), 10 * BATCH), tree)
        for stage in ("download", "split", "tokenize"):
            stage_runs.run(stage, made)
        values = _recipe(MODEL_STEPS) | {"batch_size": BATCH}
        found.append(_trained(made, values, Point("a step", count, 0, 0, label=name), tree=tree))
    return found, left_out


def parameters(layers: int, width: int, positions: int) -> int:
    """The number of weights of a GPT-2, whose output layer is the embedding (Radford et al. 2019).

    Of a block: four matrices of width x 3 width, width x width, width x 4 width, 4 width x width, their biases, and two
    layer norms: 12 C^2 + 13 C. Besides: words and positions, and the last layer norm.
    """
    return layers * (12 * width**2 + 13 * width) + (VOCABULARY + positions + 2) * width


def long_rows(count: int, tokens: int) -> Iterator[dict[str, str]]:
    """Rows of at least ``tokens`` tokens: a word is a token or more, and an answer has that many words.

    Args:
        count: number of rows.
        tokens: least number of tokens.
    """
    made = alpaca_like.rows(count * (tokens // 10 + 1), SEED)  # more than enough: an answer has forty words
    for _ in range(count):
        words: list[str] = []
        first = next(made)
        while len(words) < tokens:
            words += next(made)["output"].split()
        yield {"instruction": first["instruction"], "input": "", "output": " ".join(words)}


def _bundled() -> Iterator[dict[str, str]]:
    yield from json.loads((child.ROOT / "assets" / "data" / "instructions.json").read_text(encoding="utf-8"))


def _recipe(steps: int) -> dict[str, Any]:
    """The values of the section finetune for a training of so many steps."""
    return {"max_steps": steps, "warmup_steps": 0}


def _trained(
    folder: Path,
    recipe: dict[str, Any],
    point: Point,
    *,
    tree: dict[str, Any] | None = None,
    variables: dict[str, str] | None = None,
) -> Point:
    """A point with the figures of a training.

    Args:
        folder: folder with the outputs of the earlier stages.
        recipe: values of the section finetune.
        point: the point without its figures.
        tree: values of other sections.
        variables: environment variables of the stage.
    """
    stage_runs.set_params(folder, {**(tree or {}), "finetune": recipe})
    count = recipe.get("devices", 1)
    run = stage_runs.run("finetune", folder, variables=variables, processes=count)
    costs = stage_runs.training_costs(folder)
    return replace(
        point,
        seconds=stage_runs.seconds_a_step(costs),
        peak_bytes=run.peak_bytes,
        tokens_per_second=costs.tokens_per_second,
        estimated_bytes=costs.estimated_memory_bytes * count,
        note="; ".join(filter(None, [point.note, costs.precision])),
    )
