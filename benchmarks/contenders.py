"""What the benchmarks with several contenders share: the environment of each, the machine, and who can take part."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks import child
from benchmarks.results import Machine
from stages.common.records import read_metrics
from stages.running.program import torch_settings

OURS = "ours"

#: What keeps a peer from the network.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "DO_NOT_TRACK": "1"}


def environment(stage: str, device: str, folder: Path) -> dict[str, str]:
    """The variables that every contender's process gets.

    Args:
        stage: the stage that is measured. All get what `stages.running.program` sets for it: without that, others are
            slower too.
        device: "cpu" or "cuda".
        folder: a folder for the peers' caches, in place of the user's.
    """
    # One GPU: with several in sight a trainer would take them all.
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] if device == "cuda" else ""
    caches = {"HF_HOME": str(folder / "huggingface"), "CUDA_VISIBLE_DEVICES": gpu}
    return OFFLINE | torch_settings(stage) | caches


def machine(folder: Path, device: str, variables: Mapping[str, str], *, small: bool, made_by: str) -> Machine:
    """Measure the machine, in a process of its own.

    Args:
        folder: a folder for the result.
        device: "cpu" or "cuda".
        variables: the environment of the contenders.
        small: whether one small matrix product is enough. Without units for bf16 a large one takes minutes.
        made_by: the command that is told to the user if the result is broken.
    """
    load = os.getloadavg()[0]
    out = folder / "machine.json"
    sizes = ("--sizes", "256") if small else ()
    child.start("benchmarks.machine", str(out), "--device", device, *sizes, environment=variables)
    found = read_metrics(out, Machine, made_by=made_by)
    return found.model_copy(update={"load_before": round(load, 2)})


def missing(packages: Iterable[str]) -> str | None:
    """Why a contender that needs these packages cannot be started, or None."""
    try:
        for package in packages:
            importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        return f"the package {error.name} is not installed (pip install -e '.[bench]')"
    return None


def flat(options: Mapping[str, object]) -> list[str]:
    """Options as words of a command line: {"--rows": 3} is ["--rows", "3"]."""
    return [str(part) for pair in options.items() for part in pair]


def say(message: str) -> None:
    """Tell what is under way, on standard error: standard output is the report's."""
    print(message, file=sys.stderr, flush=True)
