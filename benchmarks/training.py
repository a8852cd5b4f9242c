"""One contender that trains, once: `benchmarks.finetune` starts this in a process of its own."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import child, task
from benchmarks.clock import Clock
from benchmarks.results import Run, Training
from stages.common.records import write_metrics


@dataclass(frozen=True)
class Contender:
    """Where a contender's code is.

    Args:
        module: a module of this package; its function ``train`` trains.
        options: options of that function.
        packages: distributions that the contender needs and the project does not.
    """

    module: str
    options: Mapping[str, bool] = field(default_factory=dict)
    packages: tuple[str, ...] = ()


CONTENDERS = {
    "ours": Contender("ours"),
    "book": Contender("book", packages=("llms-from-scratch",)),
    "book-bf16": Contender("book", options={"bf16": True}, packages=("llms-from-scratch",)),
    "transformers": Contender("huggingface", options={"padding_free": False}, packages=("transformers",)),
    "transformers-padding-free": Contender("huggingface", options={"padding_free": True}, packages=("transformers",)),
    "trl": Contender("sft_trainer", options={"padding_free": False}, packages=("trl", "transformers")),
    "trl-padding-free": Contender("sft_trainer", options={"padding_free": True}, packages=("trl", "transformers")),
}
PEERS = tuple(name for name in CONTENDERS if name != "ours")


def versions(contender: Contender) -> dict[str, str]:
    """Versions of the packages that a contender needs.

    Raises:
        PackageNotFoundError: one is not installed.
    """
    return {package: importlib.metadata.version(package) for package in contender.packages}


def main() -> None:
    """Train as one contender and write what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    contender = CONTENDERS[arguments.name]
    # Its module imports a peer's package, which need not be installed for the others.
    train = importlib.import_module(f"benchmarks.{contender.module}").train
    given = task.read(arguments.folder)
    clock = Clock(given, arguments.device)
    trained: Training = train(given, arguments.folder / "model", arguments.device, clock, **contender.options)
    batches = given.batches()
    expected = [sum(len(row.ids) - 1 for row in rows) for rows in batches]
    if trained.timing.tokens != expected:
        raise RuntimeError(f"expected steps of {expected} tokens, found {trained.timing.tokens}: not the same rows")
    run = Run(
        contender=arguments.name,
        versions=versions(contender),
        model_flops=sum(task.model_flops(given.model, rows) for rows in batches[given.warmup :]),
        timing=trained.timing,
        precision=trained.precision,
        evaluations=trained.evaluations,
        final_loss=trained.final_loss,
    )
    write_metrics(arguments.out, run)


if __name__ == "__main__":
    child.run(main)
