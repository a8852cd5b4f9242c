"""What every contender is given: the same random weights, rows in the same batches, and the book's recipe.

The recipe is that of profiles/gpt2-medium.yaml: file order split, batches of 8, two epochs, AdamW at 5e-5 with a decay
of 0.1, loss on all tokens. A task is a folder with task.json and model/, which every contender's
process reads.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from benchmarks import child
from benchmarks.child import ROOT
from stages.common.errors import ConfigError
from stages.common.files import read_json, sha256, write_json
from stages.common.records import Precision
from stages.common.results.tokenize import Encoded
from stages.download import bpe, dataset
from stages.finetune.batches import epoch_order
from stages.finetune.costs.work import FlopCounter
from stages.finetune.steps import planned_steps
from stages.gpt2 import products, runtime, weights
from stages.gpt2.model import GPT2Config
from stages.gpt2.tokenizer import FILES, Tokenizer
from stages.params import reading, whole
from stages.params.finetune import Finetune
from stages.params.whole import Params
from stages.prompts.encoding import encode
from stages.prompts.styles import STYLES
from stages.split import splits

RECIPE = ROOT / "profiles" / "gpt2-medium.yaml"
DATA = ROOT / "assets" / "data" / "instructions.json"

#: The book's split, and that of params.yaml unless its user has another.
SPLIT = {"method": "order", "seed": 123, "train": 0.85, "test": 0.1}

#: Blocks, heads and width; "tiny" is for the tests.
SIZES = {"gpt2": (12, 12, 768), "gpt2-medium": (24, 16, 1024), "tiny": (2, 2, 16)}
POSITIONS = 1024
SEED = 123


class Task(BaseModel):
    """What is to be trained, and how much of it is measured.

    Args:
        model: the model's size, a name in `SIZES`.
        data: the dataset's file name and the first digits of its SHA-256.
        recipe: the recipe of the whole training.
        precision: dtype of matrix products, "fp32" or "bf16", of all but the book's loop.
        total_steps: optimiser steps of the whole training.
        warmup: steps before those that are measured.
        steps: measured steps.
        train: all train rows, in the dataset's order.
        val: all validation rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    data: str
    recipe: Finetune
    precision: str
    total_steps: int
    warmup: int
    steps: int
    train: list[Encoded]
    val: list[Encoded]

    def order(self) -> list[Encoded]:
        """The train rows as the recipe's epochs see them, one epoch after the other, each of whole batches."""
        whole = len(self.train) - len(self.train) % self.recipe.batch_size
        epochs = range(1, self.recipe.epochs + 1)
        orders = (epoch_order(len(self.train), self.recipe.seed, epoch)[:whole] for epoch in epochs)
        return [self.train[index] for index in itertools.chain.from_iterable(orders)]

    def batches(self) -> list[list[Encoded]]:
        """The rows of each step, those of the warm-up first."""
        size = self.recipe.batch_size
        order = self.order()
        return [order[start : start + size] for start in range(0, (self.warmup + self.steps) * size, size)]

    def evaluations(self) -> int:
        """Times that the recipe evaluates on the validation rows: before, every ``eval_every`` steps, at the end."""
        return 1 + -(-self.total_steps // self.recipe.eval_every)


def recipe() -> Params:
    """The recipe's values, its division of the rows included, whatever params.yaml says of these."""
    tree = reading.read_yaml(ROOT / "params.yaml")
    reading.merge(tree, reading.read_yaml(RECIPE))
    reading.merge(tree, {"split": SPLIT})
    return whole.check(tree, RECIPE)


def model_flops(model: str, rows: list[Encoded]) -> float:
    """Floating-point operations of a forward and a backward pass over rows, as MFU counts them, without padding.

    They are six for every weight of a matrix product and token (two forward, four backward), the tied head included,
    and the two products of causal attention (PaLM, Chowdhery et al. 2022, appendix B). A contender that computes a
    shared prefix once needs fewer, so that its MFU may exceed 1.
    """
    layers, heads, width = SIZES[model]
    counter = FlopCounter(GPT2Config(layers, heads, width, POSITIONS))
    return float(counter.plain_flop([len(row.ids) - 1 for row in rows]))


def make(folder: Path, *, model: str, data: Path, warmup: int, steps: int, precision: Precision = "auto") -> None:
    """Write a task's folder.

    Raises:
        DataError: the dataset is wrong.
        ConfigError: it is missing, or the recipe has fewer steps than are to be measured.
    """
    if not data.is_file():
        raise ConfigError(f"--data {data}: no such file", "name a JSON list of instruction, input and output")
    settings = recipe()
    (folder / "bpe").mkdir(parents=True)
    (folder / "model").mkdir()
    bpe.fetch_files(settings.download.tokenizer.source, folder / "bpe", FILES)
    tokenizer = Tokenizer(folder / "bpe")
    read = dataset.read(data, name=data.name, fix=f"correct {data}")
    style = STYLES[settings.tokenize.prompt_style]
    division = splits.divide(splits.with_ids(read.rows), settings.split)
    encoded = {name: [encode(row, style, tokenizer) for row in rows] for name, rows in division.items()}
    total = planned_steps(len(encoded["train"]), settings.finetune)
    if warmup + steps > total:
        raise ConfigError(
            f"--warmup {warmup} and --steps {steps} are more than the recipe's {total} steps on {data.name}"
        )
    layers, heads, width = SIZES[model]
    weights.save(weights.initialise(GPT2Config(layers, heads, width, POSITIONS), SEED), folder / "model")
    tokenizer.save_for_transformers(folder / "model", context=POSITIONS)
    task = Task(
        model=model,
        data=f"{data.name} ({sha256(data)[:12]})",
        recipe=settings.finetune,
        precision=products.chosen(precision, runtime.prepare(), width, lambda _, measure: measure()),
        total_steps=total,
        warmup=warmup,
        steps=steps,
        train=encoded["train"],
        val=encoded["val"],
    )
    write_json(folder / "task.json", task.model_dump())


def read(folder: Path) -> Task:
    """The task in a folder."""
    return Task.model_validate(read_json(folder / "task.json", made_by="python -m benchmarks.finetune"))


def main() -> None:
    """Make a task's folder; `benchmarks.finetune` starts this."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", choices=SIZES, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--warmup", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--precision", required=True)
    arguments = vars(parser.parse_args())
    make(arguments.pop("folder"), **arguments)


if __name__ == "__main__":
    child.run(main)
