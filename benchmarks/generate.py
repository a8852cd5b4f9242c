"""Our generation beside others', in turn, on the same prompts and from the same random weights.

    python -m benchmarks.generate --model gpt2 --device cpu --peers book,transformers --rows 110 --json out.json

Needs the extra ``bench``; benchmarks/README.md says what each contender does and what the figures mean.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import answers, child, task
from benchmarks.arguments import at_least, names_of
from benchmarks.finetune import OFFLINE, OURS, say
from benchmarks.report import head, line, spread, with_spread
from stages.common.errors import PipelineError
from stages.common.files import read_json, write_json
from stages.running.program import torch_settings

#: Ours without guesses at how a row that is alone goes on, which depend on what is said.
ONE_BY_ONE = "ours-one-by-one"
PEERS = tuple(name for name in answers.CONTENDERS if name not in (OURS, ONE_BY_ONE))
#: Batch sizes at which transformers is tried; it is as good as the best of them. 0: all rows.
BATCH_SIZES = (16, 32, 64, 0)
#: The least share of answers that must be ours to the last token in fp32, where rounding alone can make another of two
#: tokens that are as good as equal the likeliest.
SAME_ANSWERS = 0.95
#: Rows that everyone answers in fp32 once more, untimed, where they are not timed in fp32.
CHECKED_ROWS = 8


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write the report."""
    options = parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        found = measure(options, Path(folder))
    write_json(options.json, found)
    print(tables(found))


def parser() -> argparse.ArgumentParser:
    """The program's arguments."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.generate", description=__doc__.splitlines()[0])
    made.add_argument("--model", choices=task.SIZES, required=True, help="tiny is for a try")
    made.add_argument("--device", choices=("cpu", "cuda"), required=True)
    made.add_argument("--peers", type=names_of(PEERS), default=list(PEERS), help=f"of {', '.join(PEERS)}")
    made.add_argument("--rows", type=at_least(1), default=110, help="prompts, from the test split")
    made.add_argument("--book-rows", type=at_least(1), help="answer only so many as the book, which takes minutes")
    made.add_argument("--batch-size", type=at_least(1), help="of ours; by default the stage's")
    made.add_argument(
        "--their-batch-sizes",
        type=at_least(0),
        nargs="+",
        default=BATCH_SIZES,
        help="at which transformers is tried; 0: all rows",
    )
    made.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="the book's is fp32")
    made.add_argument("--repeats", type=at_least(1), default=2, help="times that each contender has its turn")
    made.add_argument("--data", type=Path, default=task.DATA, help="a dataset; the book's is instruction-data.json")
    made.add_argument("--json", type=Path, required=True, help="where to write the report")
    return made


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run every contender ``options.repeats`` times, one after the other in each repeat; a report.

    Raises:
        PipelineError: our own run fails, or a peer's answers are not ours.
    """
    load = os.getloadavg()[0]
    answers.make(folder / "task", model=options.model, data=options.data, rows=options.rows)
    questions = answers.read(folder / "task")
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] if options.device == "cuda" else ""
    environment = OFFLINE | {"HF_HOME": str(folder / "huggingface"), "CUDA_VISIBLE_DEVICES": shown}
    # For all, as the stage has them: without these each is many times slower beside another process.
    environment |= torch_settings("generate")
    # One small width: without bf16 in hardware a large product of it takes minutes, and no figure here rests on it.
    widths = ("--sizes", "256")
    out = folder / "out.json"
    child.start("benchmarks.machine", str(out), "--device", options.device, *widths, environment=environment)
    hardware = read_json(out, made_by="python -m benchmarks.generate") | {"load_before": round(load, 2)}

    def run(name: str, batch_size: int, rows: int, precision: str) -> Any:
        given = {
            "--folder": folder / "task",
            "--device": options.device,
            "--precision": precision,
            "--batch-size": batch_size,
            "--rows": rows,
            "--out": out,
        }
        child.start(
            "benchmarks.answers", name, *(str(x) for pair in given.items() for x in pair), environment=environment
        )
        return read_json(out, made_by="python -m benchmarks.generate")

    turns = contenders(options)
    not_run = {label: why for label, (name, _, _) in turns.items() if (why := missing(name))}
    runs: dict[str, list[Any]] = {label: [] for label in turns if label not in not_run}
    for repeat in range(options.repeats):
        for label in rotated(list(runs), repeat):
            say(f"repeat {repeat + 1} of {options.repeats}: {label}")
            try:
                runs[label].append(run(*turns[label], options.precision))
            except child.ChildFailed as failure:
                if label == OURS:
                    raise
                not_run[label] = failure.what
                del runs[label]
                say(f"{label} did not run: {failure.what}")
    if runs[OURS][0]["precision"] != "fp32":
        rows = min(CHECKED_ROWS, options.rows)
        say(f"the first {rows} rows in fp32, untimed")
        names = dict.fromkeys(turns[label][0] for label in runs)
        check_answers({name: run(name, turns[OURS][1], rows, "fp32") for name in names})
    return summed_up(options, questions, hardware, runs, not_run)


def rotated(labels: list[str], turn: int) -> list[str]:
    """[1, 2, 3] is [2, 3, 1] in turn 1: nobody always comes first, or always behind the same one."""
    first = turn % len(labels)
    return labels[first:] + labels[:first]


def check_answers(runs: Mapping[str, Any]) -> None:
    """Compare fp32 answers.

    Raises:
        PipelineError: a peer's are not ours.
    """
    for label, run in runs.items():
        if (same := agreement(run, runs[OURS])) < SAME_ANSWERS:
            raise PipelineError(f"{label}: only {same:.0%} of the answers are ours: not the same weights or prompts")


def contenders(options: argparse.Namespace) -> dict[str, tuple[str, int, int]]:
    """Who has a turn, by label: name, batch size and rows."""
    at_a_time = options.batch_size or task.recipe().generate.batch_size
    turns = {OURS: (OURS, at_a_time, options.rows)}
    if options.device == "cpu":
        turns["ours, a token a step"] = (ONE_BY_ONE, at_a_time, options.rows)
    if "book" in options.peers:
        turns["book"] = ("book", 1, min(options.book_rows or options.rows, options.rows))
    if "transformers" in options.peers:
        sizes = dict.fromkeys(min(size or options.rows, options.rows) for size in options.their_batch_sizes)
        turns |= {f"transformers, batch {size}": ("transformers", size, options.rows) for size in sizes}
    return turns


def missing(name: str) -> str | None:
    """Why a contender cannot even be started, or None."""
    try:
        for package in answers.CONTENDERS[name][1]:
            importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        return f"the package {error.name} is not installed (pip install -e '.[bench]')"
    return None


def forwards(questions: answers.Questions, rows: int) -> int:
    """Tokens that the book's loop puts through the network for the first rows: the whole row for every new one."""
    pairs = zip(questions.prompts[:rows], questions.lengths[:rows], strict=True)
    return sum(length * len(prompt) + length * (length - 1) // 2 for prompt, length in pairs)


def seconds_of(run: Mapping[str, Any], questions: answers.Questions) -> float:
    """Seconds for all rows; those of a run of fewer in proportion to what the book's loop puts through the network."""
    every = len(questions.prompts)
    return float(run["seconds"]) * forwards(questions, every) / forwards(questions, run["rows"])


def agreement(run: Mapping[str, Any], ours: Mapping[str, Any]) -> float:
    """The share of a run's answers that are ours to the last token."""
    pairs = list(zip(run["answers"], ours["answers"], strict=False))
    return sum(theirs == mine for theirs, mine in pairs) / len(pairs)


def summed_up(
    options: argparse.Namespace,
    questions: answers.Questions,
    hardware: Any,
    runs: Mapping[str, list[Any]],
    not_run: dict[str, str],
) -> dict[str, Any]:
    """The report: figures, ratios, and the runs behind them without their answers."""
    figures: dict[str, Any] = {}
    ratios: dict[str, Any] = {}
    tokens = sum(questions.lengths)
    for label, found in runs.items():
        seconds = [seconds_of(run, questions) for run in found]
        mine = [seconds_of(run, questions) for run in runs[OURS]]
        same = min(agreement(run, runs[OURS][0]) for run in found)
        if found[0]["precision"] == runs[OURS][0]["precision"] == "fp32":
            check_answers({OURS: runs[OURS][0], label: min(found, key=lambda run: agreement(run, runs[OURS][0]))})
        figures[label] = {
            "precision": found[0]["precision"],
            "versions": found[0]["versions"],
            "rows_answered": found[0]["rows"],
            "seconds": spread(seconds),
            "tokens_per_s": spread([tokens / one for one in seconds]),
            "setup_s": spread([run["setup_s"] for run in found]),
            "peak_memory_bytes": max(run["peak_memory_bytes"] for run in found),
            "cores_of_others": max(run["cores_of_others"] for run in found),
            "same_answers": same,
        }
        if label != OURS:
            ratios[label] = {
                "speed": spread([theirs / own for theirs, own in zip(seconds, mine, strict=True)]),
                "memory": spread(
                    [
                        theirs["peak_memory_bytes"] / own["peak_memory_bytes"]
                        for theirs, own in zip(found, runs[OURS], strict=True)
                    ]
                ),
            }
    job = {"model": questions.model, "data": questions.data, "rows": len(questions.prompts), "tokens": tokens}
    return {
        "job": job | {"repeats": options.repeats, "device": options.device},
        "machine": hardware,
        "contenders": figures,
        "ratios": ratios,
        "not_run": not_run,
        "runs": {
            label: [{key: value for key, value in run.items() if key != "answers"} for run in found]
            for label, found in runs.items()
        },
    }


def tables(report: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    machine, job = report["machine"], report["job"]
    hardware = machine.get("gpu") or f"{machine['cores']} cores of {machine['cpu']}"
    rows = [
        f"{job['model']} on {hardware} ({' '.join(machine['instructions'])}), {machine['threads']} threads, "
        f"torch {machine['torch']}, load {machine['load_before']} before",
        f"{job['data']}: {job['rows']} prompts of its test split, {job['tokens']:,} new tokens, random weights, "
        f"{job['repeats']} times in turn",
        "",
        *head(
            "",
            "precision",
            "s for all rows (low–high)",
            "tokens/s",
            "peak memory, GiB",
            "others' cores",
            "same as ours",
        ),
    ]
    for label, found in report["contenders"].items():
        part = "" if found["rows_answered"] == job["rows"] else f" (from {found['rows_answered']} rows)"
        rows.append(
            line(
                label,
                found["precision"],
                with_spread(found["seconds"], ".4g") + part,
                f"{found['tokens_per_s']['median']:.4g}",
                f"{found['peak_memory_bytes'] / 2**30:.2f}",
                f"{found['cores_of_others']:.1f}",
                f"{found['same_answers']:.0%}",
            )
        )
    rows += ["", *head("ours against", "speed (low–high)", "memory, theirs to ours (low–high)")]
    rows += [
        line(label, with_spread(ratio["speed"], ".3g"), with_spread(ratio["memory"], ".2f"))
        for label, ratio in report["ratios"].items()
    ]
    return "\n".join([*rows, *(f"\n{name} did not run: {why}" for name, why in report["not_run"].items())])


if __name__ == "__main__":
    child.run(main)
