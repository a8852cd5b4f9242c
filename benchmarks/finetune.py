"""Our fine-tuning beside others', in turn, on the same rows and from the same random weights.

    python -m benchmarks.finetune --model gpt2 --device cpu --peers book,transformers --steps 4 --json out.json

Needs the extra ``bench``; benchmarks/README.md says what each contender does and what the figures mean.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import child, contenders, report, task
from benchmarks.arguments import at_least, names_of
from benchmarks.contenders import OURS, flat, say
from benchmarks.results import Floor, Machine, Run, TrainingJob, TrainingReport
from benchmarks.training import CONTENDERS, PEERS
from stages.common.errors import PipelineError
from stages.common.records import read_metrics, write_metrics

COMMAND = "python -m benchmarks.finetune"

#: How far first losses may be from ours: they have the same weights and rows, and differ by rounding alone.
LOSS_TOLERANCE = 0.05


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write the report."""
    options = parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        for found in measure(options, Path(folder)):
            write_metrics(options.json, found)
    print(report.tables(found))


def parser() -> argparse.ArgumentParser:
    """The program's arguments."""
    made = argparse.ArgumentParser(prog=COMMAND, description=__doc__.splitlines()[0])
    made.add_argument("--model", choices=task.SIZES, required=True, help="tiny is for a try")
    made.add_argument("--device", choices=("cpu", "cuda"), required=True)
    made.add_argument(
        "--peers", type=names_of(PEERS), default=["book", "transformers", "trl"], help=f"some of {', '.join(PEERS)}"
    )
    made.add_argument("--steps", type=at_least(1), default=10, help="optimiser steps that are measured")
    made.add_argument("--warmup", type=at_least(0), default=1, help="steps before them")
    made.add_argument("--repeats", type=at_least(1), default=2, help="times that each contender has its turn")
    made.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="dtype of all but the book's loop; auto: the faster one here",
    )
    made.add_argument("--data", type=Path, default=task.DATA, help="a dataset; the book's is instruction-data.json")
    made.add_argument("--json", type=Path, required=True, help="where to write the report")
    return made


def measure(options: argparse.Namespace, folder: Path) -> Iterator[TrainingReport]:
    """Run every contender ``options.repeats`` times, one after the other in each repeat.

    A peer that cannot run is left out from then on, with the reason in the report.

    Yields:
        The report so far, after every repeat: what took minutes is not lost to an interruption.

    Raises:
        PipelineError: our own run fails, or two contenders did not begin with the same weights and rows.
    """
    given = folder / "task"
    sizes = {"--model": options.model, "--data": options.data.resolve()}
    counts = {"--warmup": options.warmup, "--steps": options.steps, "--precision": options.precision}
    variables = contenders.environment("finetune", options.device, folder)
    child.start("benchmarks.task", str(given), *flat(sizes | counts), environment=variables)
    job = task.read(given)
    floor = _floor(given, variables)
    machine = contenders.machine(folder, options.device, variables, small=options.model == "tiny", made_by=COMMAND)

    not_run = {name: why for name in options.peers if (why := contenders.missing(CONTENDERS[name].packages))}
    runs: dict[str, list[Run]] = {name: [] for name in (OURS, *options.peers) if name not in not_run}
    for repeat in range(options.repeats):
        for name in list(runs):
            say(f"repeat {repeat + 1} of {options.repeats}: {name}")
            try:
                runs[name].append(_train(name, given, options.device, variables))
            except child.ChildFailed as failure:
                if name == OURS:
                    raise
                not_run[name] = failure.what
                del runs[name]
                say(f"{name} did not run: {failure.what}")
        check_same_start(runs)
        yield summed_up(options.device, job, machine, floor, runs, not_run)


def _floor(given: Path, variables: Mapping[str, str]) -> Floor:
    """The floor of a step of the task in a folder."""
    out = given.with_name("floor.json")
    child.start("benchmarks.roofline", str(given), *flat({"--out": out}), environment=variables)
    return read_metrics(out, Floor, made_by=COMMAND)


def _train(name: str, given: Path, device: str, variables: Mapping[str, str]) -> Run:
    """Let a contender train the task in a folder, in a process of its own.

    Raises:
        ChildFailed: it ended with an error.
    """
    out = given.with_name("run.json")
    words = flat({"--folder": given, "--device": device, "--out": out})
    child.start("benchmarks.training", name, *words, environment=variables)
    run = read_metrics(out, Run, made_by=COMMAND)
    out.unlink()
    return run


def check_same_start(runs: dict[str, list[Run]]) -> None:
    """Compare the contenders' first losses.

    Raises:
        PipelineError: one is not ours.
    """
    first = {name: found[0].timing.losses[0] for name, found in runs.items()}
    for name, loss in first.items():
        if abs(loss - first[OURS]) > LOSS_TOLERANCE:
            raise PipelineError(f"the first loss of {name} is {loss}, ours {first[OURS]}: not the same weights or rows")


def summed_up(
    device: str,
    given: task.Task,
    machine: Machine,
    floor: Floor,
    runs: dict[str, list[Run]],
    not_run: dict[str, str],
) -> TrainingReport:
    """The report: figures, ratios, and the runs behind them."""
    total, peak = given.total_steps, machine.peak_tflops
    summary = functools.partial(report.summary, total_steps=total, peak=peak, floor=floor.step_s)
    others = {name: found for name, found in runs.items() if name != OURS}
    return TrainingReport(
        job=TrainingJob(
            model=given.model,
            data=given.data,
            rows_train=len(given.train),
            rows_val=len(given.val),
            batch_size=given.recipe.batch_size,
            total_steps=total,
            warmup=given.warmup,
            steps=given.steps,
            repeats=len(runs[OURS]),
            device=device,
        ),
        machine=machine,
        floor=floor,
        peak_tflops_per_s=peak,
        contenders={name: summary(found) for name, found in runs.items()},
        ratios={name: report.ratios(runs[OURS], found, total_steps=total) for name, found in others.items()},
        not_run=not_run,
        runs=runs,
    )


if __name__ == "__main__":
    child.run(main)
