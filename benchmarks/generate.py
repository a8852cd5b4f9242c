"""Our generation beside others', in turn, on the same prompts and from the same random weights.

    python -m benchmarks.generate --model gpt2 --device cpu --peers book,transformers --rows 110 --json out.json

Needs the extra ``bench``; benchmarks/README.md says what each contender does and what the figures mean.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import answering, child, contenders, task
from benchmarks.arguments import at_least, names_of
from benchmarks.contenders import OURS, flat, say
from benchmarks.report import head, line, not_run_lines
from benchmarks.results import (
    Answered,
    Answering,
    AnsweringFigures,
    AnsweringJob,
    AnsweringRatios,
    AnsweringReport,
    Machine,
    Spread,
)
from stages.common.errors import PipelineError
from stages.common.records import read_metrics, write_metrics

COMMAND = "python -m benchmarks.generate"
#: Ours without prompt lookup, whose gain depends on the text.
ONE_BY_ONE = "ours-one-by-one"
PEERS = tuple(name for name in answering.CONTENDERS if name not in (OURS, ONE_BY_ONE))
#: Batch sizes at which transformers is tried, of which the fastest counts. 0: all rows.
BATCH_SIZES = (16, 32, 64, 0)
#: The least share of answers that must equal ours to the last token in fp32. Where two tokens are almost equally
#: likely, rounding alone can choose the other.
SAME_ANSWERS = 0.95
#: Rows that all answer once more in fp32, untimed, where the timed answers are not in fp32.
CHECKED_ROWS = 8


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write the report."""
    options = parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        found = measure(options, Path(folder))
    write_metrics(options.json, found)
    print(tables(found))


def parser() -> argparse.ArgumentParser:
    """The program's arguments."""
    made = argparse.ArgumentParser(prog=COMMAND, description=__doc__.splitlines()[0])
    made.add_argument("--model", choices=task.SIZES, required=True, help="tiny is for a try")
    made.add_argument("--device", choices=("cpu", "cuda"), required=True)
    made.add_argument("--peers", type=names_of(PEERS), default=list(PEERS), help=f"some of {', '.join(PEERS)}")
    made.add_argument("--rows", type=at_least(1), default=110, help="prompts, from the test split")
    made.add_argument("--book-rows", type=at_least(1), help="rows that the book answers; all take it minutes")
    made.add_argument("--batch-size", type=at_least(1), help="our batch size; the stage's unless given")
    made.add_argument(
        "--their-batch-sizes",
        type=at_least(0),
        nargs="+",
        default=BATCH_SIZES,
        help="batch sizes at which transformers is tried; 0: all rows",
    )
    made.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="the book's is fp32",
    )
    made.add_argument("--repeats", type=at_least(1), default=2, help="times that each contender has its turn")
    made.add_argument("--data", type=Path, default=task.DATA, help="a dataset; the book's is instruction-data.json")
    made.add_argument("--json", type=Path, required=True, help="where to write the report")
    return made


@dataclass(frozen=True)
class Turn:
    """What a contender is asked for.

    Args:
        name: the contender, a key of `answering.CONTENDERS`.
        batch_size: rows at a time.
        rows: how many of the prompts it answers.
    """

    name: str
    batch_size: int
    rows: int


def measure(options: argparse.Namespace, folder: Path) -> AnsweringReport:
    """Run every contender ``options.repeats`` times, one after the other in each repeat; a report.

    Raises:
        PipelineError: our own run fails, or a peer's answers are not ours.
    """
    answering.make(folder / "task", model=options.model, data=options.data, rows=options.rows)
    questions = answering.read(folder / "task")
    variables = contenders.environment("generate", options.device, folder)
    # No figure here rests on the speed of matrix products.
    machine = contenders.machine(folder, options.device, variables, small=True, made_by=COMMAND)

    def run(turn: Turn, precision: str) -> Answered:
        return _answer(turn, folder, options.device, precision, variables)

    turns = turns_of(options)
    not_run = {label: why for label, turn in turns.items() if (why := missing(turn.name))}
    runs: dict[str, list[Answered]] = {label: [] for label in turns if label not in not_run}
    for repeat in range(options.repeats):
        for label in rotated(list(runs), repeat):
            say(f"repeat {repeat + 1} of {options.repeats}: {label}")
            try:
                runs[label].append(run(turns[label], options.precision))
            except child.ChildFailed as failure:
                if label == OURS:
                    raise
                not_run[label] = failure.what
                del runs[label]
                say(f"{label} did not run: {failure.what}")
    if runs[OURS][0].run.precision != "fp32":
        rows = min(CHECKED_ROWS, options.rows)
        say(f"the first {rows} rows in fp32, untimed")
        names = dict.fromkeys(turns[label].name for label in runs)
        check_answers({name: run(Turn(name, turns[OURS].batch_size, rows), "fp32") for name in names})
    return summed_up(options, questions, machine, runs, not_run)


def _answer(turn: Turn, folder: Path, device: str, precision: str, variables: Mapping[str, str]) -> Answered:
    """Let a contender answer, in a process of its own.

    Raises:
        ChildFailed: it ended with an error.
    """
    out = folder / "out.json"
    given = {
        "--folder": folder / "task",
        "--device": device,
        "--precision": precision,
        "--batch-size": turn.batch_size,
        "--rows": turn.rows,
        "--out": out,
    }
    child.start("benchmarks.answering", turn.name, *flat(given), environment=variables)
    return read_metrics(out, Answered, made_by=COMMAND)


def rotated(labels: list[str], turn: int) -> list[str]:
    """[1, 2, 3] is [2, 3, 1] in turn 1: nobody always comes first, or always behind the same one."""
    first = turn % len(labels)
    return labels[first:] + labels[:first]


def check_answers(runs: Mapping[str, Answered]) -> None:
    """Compare fp32 answers.

    Raises:
        PipelineError: too few of a peer's are ours.
    """
    for label, run in runs.items():
        if (same := agreement(run, runs[OURS])) < SAME_ANSWERS:
            raise PipelineError(f"{label}: only {same:.0%} of the answers are ours: not the same weights or prompts")


def turns_of(options: argparse.Namespace) -> dict[str, Turn]:
    """Who has a turn, by label."""
    at_a_time = options.batch_size or task.recipe().generate.batch_size
    turns = {OURS: Turn(OURS, at_a_time, options.rows)}
    if options.device == "cpu":
        turns["ours, a token a step"] = Turn(ONE_BY_ONE, at_a_time, options.rows)
    if "book" in options.peers:
        turns["book"] = Turn("book", 1, min(options.book_rows or options.rows, options.rows))
    if "transformers" in options.peers:
        sizes = dict.fromkeys(min(size or options.rows, options.rows) for size in options.their_batch_sizes)
        turns |= {f"transformers, batch {size}": Turn("transformers", size, options.rows) for size in sizes}
    return turns


def missing(name: str) -> str | None:
    """Why a contender cannot be started, or None."""
    return contenders.missing(answering.CONTENDERS[name][1])


def forwards(questions: answering.Questions, rows: int) -> int:
    """Tokens that the book's loop puts through the network for the first rows: for every new token the whole row."""
    pairs = zip(questions.prompts[:rows], questions.lengths[:rows], strict=True)
    return sum(length * len(prompt) + length * (length - 1) // 2 for prompt, length in pairs)


def seconds_of(run: Answering, questions: answering.Questions) -> float:
    """Seconds for all rows; those of a run of fewer in proportion to what the book's loop puts through the network."""
    every = len(questions.prompts)
    return run.seconds * forwards(questions, every) / forwards(questions, run.rows)


def agreement(run: Answered, ours: Answered) -> float:
    """The share of a run's answers that are ours to the last token."""
    pairs = list(zip(run.answers, ours.answers, strict=False))
    return sum(theirs == mine for theirs, mine in pairs) / len(pairs)


def summed_up(
    options: argparse.Namespace,
    questions: answering.Questions,
    machine: Machine,
    runs: Mapping[str, list[Answered]],
    not_run: dict[str, str],
) -> AnsweringReport:
    """The report: figures, ratios, and the runs behind them without their answers.

    Raises:
        PipelineError: too few of a peer's fp32 answers are ours.
    """
    first = runs[OURS][0]
    for label, found in runs.items():
        if found[0].run.precision == first.run.precision == "fp32":
            check_answers({OURS: first, label: min(found, key=lambda run: agreement(run, first))})
    ours = [answered.run for answered in runs[OURS]]
    timed = {label: [answered.run for answered in found] for label, found in runs.items()}
    return AnsweringReport(
        job=AnsweringJob(
            model=questions.model,
            data=questions.data,
            rows=len(questions.prompts),
            tokens=sum(questions.lengths),
            repeats=options.repeats,
            device=options.device,
        ),
        machine=machine,
        contenders={label: figures(found, first, questions) for label, found in runs.items()},
        ratios={label: ratios(ours, found, questions) for label, found in timed.items() if label != OURS},
        not_run=not_run,
        runs=timed,
    )


def figures(found: Sequence[Answered], ours: Answered, questions: answering.Questions) -> AnsweringFigures:
    """The figures of one contender, from its run in each repeat."""
    runs = [answered.run for answered in found]
    seconds = [seconds_of(run, questions) for run in runs]
    return AnsweringFigures(
        precision=runs[0].precision,
        versions=runs[0].versions,
        rows_answered=runs[0].rows,
        seconds=Spread.of(seconds),
        tokens_per_s=Spread.of([sum(questions.lengths) / one for one in seconds]),
        setup_s=Spread.of([run.setup_s for run in runs]),
        peak_memory_bytes=max(run.peak_memory_bytes for run in runs),
        cores_of_others=max(run.cores_of_others for run in runs),
        same_answers=min(agreement(answered, ours) for answered in found),
    )


def ratios(ours: Sequence[Answering], peer: Sequence[Answering], questions: answering.Questions) -> AnsweringRatios:
    """How many times as fast as a peer we are, from runs of the same repeat: above 1 is better, memory too."""
    pairs = list(zip(ours, peer, strict=True))
    return AnsweringRatios(
        speed=Spread.of([seconds_of(b, questions) / seconds_of(a, questions) for a, b in pairs]),
        memory=Spread.of([b.peak_memory_bytes / a.peak_memory_bytes for a, b in pairs]),
    )


def tables(report: AnsweringReport) -> str:
    """The report as Markdown."""
    machine, job = report.machine, report.job
    rows = [
        f"{job.model} on {machine.hardware}, {machine.threads} threads, "
        f"torch {machine.torch}, load {machine.load_before} before",
        f"{job.data}: {job.rows} prompts of its test split, {job.tokens:,} new tokens, random weights, "
        f"{job.repeats} times in turn",
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
    for label, found in report.contenders.items():
        part = "" if found.rows_answered == job.rows else f" (estimated from {found.rows_answered} rows)"
        rows.append(
            line(
                label,
                found.precision,
                found.seconds.text(".4g") + part,
                f"{found.tokens_per_s.median:.4g}",
                f"{found.peak_memory_bytes / 2**30:.2f}",
                f"{found.cores_of_others:.1f}",
                f"{found.same_answers:.0%}",
            )
        )
    rows += ["", *head("ours against", "speed (low–high)", "memory, theirs to ours (low–high)")]
    rows += [line(label, ratio.speed.text(".3g"), ratio.memory.text(".2f")) for label, ratio in report.ratios.items()]
    return "\n".join([*rows, *not_run_lines(report.not_run)])


if __name__ == "__main__":
    child.run(main)
