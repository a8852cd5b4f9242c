"""What a GPU is to show: tests that need one, then training and answering beside others, each figure beside its goal.

    python -m benchmarks.gpu_check
    python -m benchmarks.gpu_check --device cpu

On a CPU it takes a tiny model and asks nothing of the figures: that tries the commands before a GPU is at hand. Needs
the extra ``bench`` and pytest; benchmarks/README.md says what each contender does. Everything is written to a folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch

from benchmarks import child, finetune, generate, task
from benchmarks.contenders import OURS, flat, say
from benchmarks.report import head, line
from benchmarks.results import AnsweringReport, TrainingReport
from stages.common.errors import ConfigError, PipelineError
from stages.common.paths import CACHE
from stages.common.records import read_metrics

COMMAND = "python -m benchmarks.gpu_check"
#: Goals, of GPT-2 medium and the recipe of the profile `gpt2-medium` on an H100 or H200.
MOST_RECIPE_SECONDS, MOST_ANSWERS_SECONDS = 1.5, 2.0
LEAST_RATIO_TO_BOOK, LEAST_RATIO_TO_TRANSFORMERS, LEAST_ANSWERS_RATIO = 20.0, 2.5, 2.0


@dataclass(frozen=True)
class Size:
    """How much is done.

    Args:
        model: one of `benchmarks.task.SIZES`.
        steps: optimiser steps that are measured.
        warmup: steps before them.
        rows: prompts that are answered.
    """

    model: str
    steps: int
    warmup: int
    rows: int


SIZES = {"cuda": Size("gpt2-medium", 60, 20, 110), "cpu": Size("tiny", 3, 1, 8)}


@dataclass(frozen=True)
class Finding:
    """A figure beside its goal.

    Args:
        what: the figure.
        found: its value.
        goal: its goal, in words.
        met: whether it is met.
    """

    what: str
    found: str
    goal: str
    met: bool


def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything, print the tables and the goals.

    Raises:
        ConfigError: there is no GPU.
        PipelineError: a goal is not met.
    """
    options = parser().parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("torch sees no GPU", f"{COMMAND} --device cpu, which tries the commands")
    options.out.mkdir(parents=True, exist_ok=True)
    size = SIZES[options.device]
    green = _tests()
    trained = _trained(options, size, "training.json", peers="book,transformers,transformers-padding-free,trl")
    plain = _trained(options, size, "training-plain.json", peers="", graphs=False) if options.device == "cuda" else None
    answered = _answered(options, size)
    found = [Finding("tests/test_cuda.py", "pass" if green else "fail", "pass", green), *findings(trained, answered)]
    print("\n".join(_lines(found, plain, asked=options.device == "cuda")))
    if options.device == "cuda" and (missed := [one.what for one in found if not one.met]):
        raise PipelineError(f"goals that are not met: {'; '.join(missed)}", f"the reports are in {options.out}")


def parser() -> argparse.ArgumentParser:
    """The program's arguments."""
    made = argparse.ArgumentParser(prog=COMMAND, description=__doc__.splitlines()[0])
    made.add_argument("--device", choices=tuple(SIZES), default="cuda")
    made.add_argument("--data", type=Path, default=task.DATA, help="a dataset; the book's is instruction-data.json")
    made.add_argument("--repeats", type=int, default=1, help="times that each contender has its turn")
    made.add_argument("--out", type=Path, default=CACHE / "gpu-check", help="folder for the reports")
    return made


def _tests() -> bool:
    """Whether the tests that need a GPU pass; without one they are skipped."""
    say("tests/test_cuda.py")
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=--import-mode=importlib", "tests/test_cuda.py"]
    return subprocess.run(command, check=False, stdout=sys.stderr).returncode == 0


def _trained(options: argparse.Namespace, size: Size, name: str, *, peers: str, graphs: bool = True) -> TrainingReport:
    """Measure training."""
    out = options.out / name
    given = {"--model": size.model, "--device": options.device, "--peers": peers, "--steps": size.steps}
    given |= {"--warmup": size.warmup, "--repeats": options.repeats, "--data": options.data, "--json": out}
    _measure(finetune.__name__, flat(given), {} if graphs else {"PIPELINE_CUDA_GRAPHS": "0"})
    return read_metrics(out, TrainingReport, made_by=COMMAND)


def _answered(options: argparse.Namespace, size: Size) -> AnsweringReport:
    """Measure answering."""
    out = options.out / "answering.json"
    given = {"--model": size.model, "--device": options.device, "--peers": "transformers", "--rows": size.rows}
    given |= {"--repeats": options.repeats, "--data": options.data, "--json": out}
    _measure(generate.__name__, flat(given), {})
    return read_metrics(out, AnsweringReport, made_by=COMMAND)


def _measure(module: str, arguments: Sequence[str], variables: Mapping[str, str]) -> None:
    """Run a benchmark in a process of its own, which prints its tables.

    Raises:
        ChildFailed: it ended with an error, which it has printed.
    """
    done = subprocess.run([sys.executable, "-m", module, *arguments], env={**os.environ, **variables}, check=False)
    if done.returncode:
        raise child.ChildFailed(module, done.returncode, ["its message is above"])


def findings(trained: TrainingReport, answered: AnsweringReport) -> Iterator[Finding]:
    """The figures of both reports beside their goals; a peer that did not run misses its goal."""
    steps = trained.job.total_steps * mean(seconds for run in trained.runs[OURS] for seconds in run.timing.step_s)
    yield Finding(
        f"{trained.job.total_steps} steps",
        f"{steps:.2f} s",
        f"{MOST_RECIPE_SECONDS} s at most",
        steps <= MOST_RECIPE_SECONDS,
    )
    yield _faster("training, beside the book", _of(trained, "book"), LEAST_RATIO_TO_BOOK)
    yield _faster("training, beside transformers", _of(trained, "transformers"), LEAST_RATIO_TO_TRANSFORMERS)
    fastest = min(trained.ratios, key=lambda name: trained.ratios[name].tokens_per_s.median, default=None)
    memory = None if fastest is None else trained.ratios[fastest].memory
    yield _faster(f"memory of {fastest or 'the fastest peer'} to ours", memory, 1.0)
    seconds = answered.contenders[OURS].seconds.median
    yield Finding(
        f"{answered.job.rows} answers",
        f"{seconds:.2f} s",
        f"{MOST_ANSWERS_SECONDS} s at most",
        seconds <= MOST_ANSWERS_SECONDS,
    )
    speeds = [ratio.speed.median for name, ratio in answered.ratios.items() if name.startswith("transformers")]
    yield _faster("answering, beside transformers", min(speeds, default=None), LEAST_ANSWERS_RATIO)


def _of(trained: TrainingReport, peer: str) -> float | None:
    """Our speed over that of a peer's fastest kind, in target tokens a second; None if none ran."""
    kinds = [ratio.tokens_per_s.median for name, ratio in trained.ratios.items() if name.startswith(peer)]
    return min(kinds, default=None)


def _faster(what: str, ratio: float | None, least: float) -> Finding:
    found = "did not run" if ratio is None else f"{ratio:.2f}x"
    return Finding(what, found, f"{least:g}x at least", ratio is not None and ratio >= least)


def _lines(found: Sequence[Finding], plain: TrainingReport | None, *, asked: bool) -> list[str]:
    """The table; on a CPU, of whose figures nothing is asked, without the outcome."""
    lines = ["", *head("figure", "found", "goal of a GPU", "")]
    lines += [line(one.what, one.found, one.goal, ("met" if one.met else "not met") if asked else "") for one in found]
    if plain is not None:
        lines += ["", f"without CUDA graphs the recipe takes {plain.contenders[OURS].estimated_s.median:.2f} s"]
    return lines


if __name__ == "__main__":
    child.run(main)
