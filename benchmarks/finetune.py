"""Our fine-tuning beside others', in turn, on the same rows and from the same random weights.

    python -m benchmarks.finetune --model gpt2 --device cpu --peers book,transformers --steps 4 --json out.json

Needs the extra ``bench``; benchmarks/README.md says what each contender does and what the figures mean.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import child, report, task
from benchmarks.arguments import at_least, names_of
from benchmarks.contender import CONTENDERS, PEERS, versions
from stages.common.errors import PipelineError
from stages.common.files import read_json, write_json
from stages.running.program import torch_settings

OURS = "ours"

#: The first step's losses are of the same weights and rows, so they differ by rounding alone.
LOSS_TOLERANCE = 0.05

#: What is kept from the network, and from the user's caches.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "DO_NOT_TRACK": "1"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write the report."""
    options = parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        for found in measure(options, Path(folder)):
            write_json(options.json, found)
    print(report.tables(found))


def parser() -> argparse.ArgumentParser:
    """The program's arguments."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.finetune", description=__doc__.splitlines()[0])
    made.add_argument("--model", choices=task.SIZES, required=True, help="tiny is for a try")
    made.add_argument("--device", choices=("cpu", "cuda"), required=True)
    made.add_argument(
        "--peers", type=names_of(PEERS), default=["book", "transformers", "trl"], help=f"of {', '.join(PEERS)}"
    )
    made.add_argument("--steps", type=at_least(1), default=10, help="optimiser steps that are measured")
    made.add_argument("--warmup", type=at_least(0), default=1, help="steps before them")
    made.add_argument("--repeats", type=at_least(1), default=2, help="times that each contender has its turn")
    made.add_argument("--data", type=Path, default=task.DATA, help="a dataset; the book's is instruction-data.json")
    made.add_argument("--json", type=Path, required=True, help="where to write the report")
    return made


def measure(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Run every contender ``options.repeats`` times, one after the other in each repeat.

    A peer that cannot run is left out from then on, with the reason in the report.

    Yields:
        The report so far, after every repeat: what took minutes is not lost to an interruption.

    Raises:
        PipelineError: our own run fails, or two contenders did not begin with the same weights and rows.
    """
    load = os.getloadavg()[0]
    given = folder / "task"
    sizes = {"--model": options.model, "--data": options.data.resolve()}
    counts = {"--warmup": options.warmup, "--steps": options.steps}
    child.start("benchmarks.task", str(given), *_flat(sizes | counts))
    job = task.read(given)
    # What stages.running.program sets for the stage, all get: it makes others faster too.
    environment = OFFLINE | torch_settings("finetune") | {"HF_HOME": str(folder / "huggingface")}
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    # One GPU: with several in sight a trainer would take them all.
    environment["CUDA_VISIBLE_DEVICES"] = shown.split(",")[0] if options.device == "cuda" else ""
    widths = ("--sizes", "256") if options.model == "tiny" else ()
    child.start(
        "benchmarks.machine", str(folder / "machine.json"), "--device", options.device, *widths, environment=environment
    )
    hardware = read_json(folder / "machine.json", made_by="python -m benchmarks.finetune")
    hardware["load_before"] = round(load, 2)

    not_run = {name: why for name in options.peers if (why := missing(name))}
    runs: dict[str, list[Any]] = {name: [] for name in (OURS, *options.peers) if name not in not_run}
    for repeat in range(options.repeats):
        for name in list(runs):
            say(f"repeat {repeat + 1} of {options.repeats}: {name}")
            out = folder / "run.json"
            try:
                child.start(
                    "benchmarks.contender",
                    name,
                    *_flat({"--folder": given, "--device": options.device, "--out": out}),
                    environment=environment,
                )
            except child.ChildFailed as failure:
                if name == OURS:
                    raise
                not_run[name] = failure.what
                del runs[name]
                say(f"{name} did not run: {failure.what}")
            else:
                runs[name].append(read_json(out, made_by="python -m benchmarks.finetune"))
                out.unlink()
        check_same_start(runs)
        yield summed_up(options, job, hardware, runs, not_run)


def missing(name: str) -> str | None:
    """Why a contender cannot even be started, or None."""
    try:
        versions(CONTENDERS[name])
    except importlib.metadata.PackageNotFoundError as error:
        return f"the package {error.name} is not installed (pip install -e '.[bench]')"
    return None


def check_same_start(runs: dict[str, list[Any]]) -> None:
    """Raise unless all contenders' first losses are the same."""
    first = {name: found[0]["losses"][0] for name, found in runs.items()}
    for name, loss in first.items():
        if abs(loss - first[OURS]) > LOSS_TOLERANCE:
            raise PipelineError(f"the first loss of {name} is {loss}, ours {first[OURS]}: not the same weights or rows")


def summed_up(
    options: argparse.Namespace, job: task.Task, hardware: Any, runs: dict[str, list[Any]], not_run: dict[str, str]
) -> dict[str, Any]:
    """The report: figures, ratios, and the runs behind them."""
    total, peak = job.total_steps, report.peak_tflops(hardware)
    others = {name: found for name, found in runs.items() if name != OURS}
    return {
        "job": {
            "model": job.model,
            "data": job.data,
            "rows_train": len(job.train),
            "rows_val": len(job.val),
            "batch_size": job.recipe.batch_size,
            "total_steps": total,
            "warmup": job.warmup,
            "steps": job.steps,
            "repeats": len(runs[OURS]),
            "device": options.device,
        },
        "machine": hardware,
        "peak_tflops_per_s": peak,
        "contenders": {name: report.summary(found, total_steps=total, peak=peak) for name, found in runs.items()},
        "ratios": {name: report.ratios(runs[OURS], found, total_steps=total) for name, found in others.items()},
        "not_run": not_run,
        "runs": runs,
    }


def say(message: str) -> None:
    """Tell what is under way, on standard error: standard output is the report's."""
    print(message, file=sys.stderr, flush=True)


def _flat(options: dict[str, Any]) -> list[str]:
    return [str(part) for pair in options.items() for part in pair]


if __name__ == "__main__":
    child.run(main)
