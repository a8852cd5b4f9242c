"""One contender, once: `benchmarks.finetune` starts this in a process of its own."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import child, task
from stages.common.files import write_json


@dataclass(frozen=True)
class Contender:
    """Where a contender's code is.

    Args:
        module: of this package.
        function: in it.
        options: given to the function.
        packages: distributions that it needs and the project does not.
    """

    module: str
    function: str = "train"
    options: Mapping[str, bool] = field(default_factory=dict)
    packages: tuple[str, ...] = ()


CONTENDERS = {
    "ours": Contender("ours"),
    "book": Contender("book", packages=("llms-from-scratch",)),
    "book-bf16": Contender("book", options={"bf16": True}, packages=("llms-from-scratch",)),
    "transformers": Contender("huggingface", options={"padding_free": False}, packages=("transformers",)),
    "transformers-padding-free": Contender("huggingface", options={"padding_free": True}, packages=("transformers",)),
    "trl": Contender("huggingface", "train_trl", {"padding_free": False}, packages=("trl", "transformers")),
    "trl-padding-free": Contender("huggingface", "train_trl", {"padding_free": True}, packages=("trl", "transformers")),
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
    train = getattr(importlib.import_module(f"benchmarks.{contender.module}"), contender.function)

    from benchmarks.clock import Clock

    given = task.read(arguments.folder)
    clock = Clock(given, arguments.device)
    measured: dict[str, Any] = train(given, arguments.folder / "model", arguments.device, clock, **contender.options)
    batches = given.batches()
    expected = [sum(len(row.ids) - 1 for row in rows) for rows in batches]
    if measured["tokens"] != expected:
        raise RuntimeError(f"expected steps of {expected} tokens, found {measured['tokens']}: not the same rows")
    facts = {
        "contender": arguments.name,
        "versions": versions(contender),
        "useful_flops": sum(task.useful_flops(given.model, rows) for rows in batches[given.warmup :]),
    }
    write_json(arguments.out, facts | measured)


if __name__ == "__main__":
    child.run(main)
