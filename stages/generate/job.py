"""Answers every test prompt by each model, and measures the answers.

Rows are taken a window at a time, and of all of them nothing
but ids and places in files is held; finished answers are kept outside DVC's outputs, so that a killed run goes on.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.common import paths
from stages.common.appended import remove_unless_open
from stages.common.errors import DataError
from stages.common.files import write_json
from stages.common.records import ModelName, Precision, read_records, write_records
from stages.common.results.download import BASE_MODEL, TOKENIZER
from stages.common.results.finetune import TUNED_MODEL
from stages.common.results.generate import GENERATE_METRICS, RESPONSES, Response
from stages.common.results.split import Example, split_file
from stages.common.results.tokenize import Encoded, tokens_file
from stages.generate import answering
from stages.generate.journal import Journal
from stages.generate.measures import PLACES, Measures
from stages.gpt2 import runtime, weights
from stages.gpt2.model import GPT2
from stages.gpt2.runtime import Device
from stages.gpt2.tokenizer import VOCABULARY_SIZE, Tokenizer
from stages.params.generate import Generate
from stages.running.code_of import code_of
from stages.running.console import duration, progress, say
from stages.running.run_key import run_key

TOKENIZE = "dvc repro --force tokenize"
#: Each model's folder, and the command that makes it.
MODELS = {
    "base": (BASE_MODEL, "dvc repro --force download"),
    "tuned": (TUNED_MODEL, "dvc repro --force finetune"),
}
#: Where finished answers wait for the others.
ANSWERS = paths.CACHE / "generate"
#: Whose answers are kept when all are there: each fine-tuning is answered for beside the same base model. The last
#: run's alone, so that no more than one file is kept.
KEPT: tuple[ModelName, ...] = ("base",)

#: Batches in a window. Between windows the last rows of one are waited for, so more make less idle time.
WINDOW_BATCHES = 8
#: Rows that are answered in fp32 too where bf16 is chosen, to tell how many answers it changes.
COMPARED_ROWS = 32
#: Seconds between two lines on how far it is.
REPORT_SECONDS = 30.0


def generate(settings: Generate) -> None:
    """Check everything, answer everything, and write what the stage promises."""
    device = runtime.prepare()
    rows = check_rows()
    tokenizer = Tokenizer(TOKENIZER)
    for name in settings.models:  # what is wrong with one is not told after another's answers
        folder, made_by = MODELS[name]
        answering.check(folder, made_by=made_by)
    dtype = runtime.dtype_for(settings.precision, device)
    settings = settings.model_copy(update={"precision": runtime.name_of(dtype)})  # what "auto" is on this machine
    with ExitStack() as stack:
        journals = {
            name: stack.enter_context(Journal(journal_path(name, settings, device.type)))
            for name in sorted(settings.models)  # in one order, so that no two processes wait for one another
        }
        effects: dict[str, Any] = {}
        for name in settings.models:
            with shortage_explained(name, settings, rows):
                answer_all(name, rows.count, journals[name], settings, tokenizer, device)
                if settings.precision == "bf16":
                    effects[name] = effect_of_bf16(name, journals[name], settings, tokenizer, device)
        write(journals, settings, effects)
        for name, journal in journals.items():
            clean_up(name, journal)


@dataclass(frozen=True)
class Rows:
    """How many test rows there are, and how many tokens the longest of their prompts has."""

    count: int
    longest: int


def check_rows() -> Rows:
    """Look through all test rows and their references; of them only the ids are held, 100,000 in about 10 MB.

    Raises:
        DataError: there is none, one has no prompt, no response or ids that no GPT-2 knows, two have one id, or the
            references are not those of the rows.
    """
    path, split = tokens_file("test"), split_file("test")
    seen: set[str] = set()
    longest = 0
    for row, example in itertools.zip_longest(read_rows(), read_references()):
        if row is None or example is None or row.id != example.id:
            expected, found = ("the end" if one is None else f"the row {one.id}" for one in (row, example))
            raise DataError(f"{split}: expected {expected}, found {found}", TOKENIZE)
        if not 0 < row.prompt_length < len(row.ids):
            most = len(row.ids) - 1
            raise DataError(
                f"{path}, row {row.id}: prompt_length: expected 1 to {most}, found {row.prompt_length}", TOKENIZE
            )
        if not 0 <= min(row.ids) <= max(row.ids) < VOCABULARY_SIZE:
            raise DataError(f"{path}, row {row.id}: ids: expected 0 to {VOCABULARY_SIZE - 1}", TOKENIZE)
        if row.id in seen:
            raise DataError(f"{path}: two rows have the id {row.id}", "dvc repro --force split")
        seen.add(row.id)
        longest = max(longest, row.prompt_length)
    if not seen:
        raise DataError(f"{path}: no rows to answer", TOKENIZE)
    return Rows(len(seen), longest)


def read_rows() -> Iterator[Encoded]:
    """The test rows, in their order."""
    return read_records(tokens_file("test"), Encoded, made_by="dvc repro tokenize")


def read_references() -> Iterator[Example]:
    """The test rows before they were made tokens of, in the same order."""
    return read_records(split_file("test"), Example, made_by="dvc repro split")


def windows(settings: Generate) -> Iterator[list[Encoded]]:
    """The test rows, as many at a time as are answered together."""
    rows = read_rows()
    while window := list(itertools.islice(rows, WINDOW_BATCHES * settings.batch_size)):
        yield window


def load(name: ModelName, precision: Precision, device: Device) -> GPT2:
    """One of the models; errors as in `stages.generate.answering.load`."""
    folder, made_by = MODELS[name]
    return answering.load(folder, made_by=made_by, dtype=runtime.dtype_for(precision, device), device=device)


def shortage_explained(name: ModelName, settings: Generate, rows: Rows) -> AbstractContextManager[None]:
    """As `stages.generate.answering.shortage_explained`, for one of the models."""
    folder, made_by = MODELS[name]
    sizes = weights.read_config(folder / weights.CONFIG, made_by=made_by)
    return answering.shortage_explained(sizes, settings, rows=rows.count, longest=rows.longest)


def journal_path(name: ModelName, settings: Generate, device: str) -> Path:
    """Where a model's answers are kept until all are there: another value, prompt, model or machine, another file."""
    folder, _ = MODELS[name]
    inputs = (tokens_file("test"), folder / weights.CONFIG, folder / weights.WEIGHTS)
    key = run_key(settings.model_dump_json(exclude={"models"}), f"{name} on {device}", *code_of("generate"), *inputs)
    return ANSWERS / f"{name}-{key}.jsonl"


def answer_all(
    name: ModelName, count: int, journal: Journal, settings: Generate, tokenizer: Tokenizer, device: Device
) -> None:
    """Put an answer to every row that has none yet into the journal. The model is there no longer than that."""
    kept = len(journal)
    if kept == count:
        say(f"{name} model: all {count:,} answers are there from an earlier run")
        return
    if kept:
        say(f"{name} model: going on behind {kept:,} answers of a run that was stopped")
    model = load(name, settings.precision, device)
    pace = Pace(name, count, kept)
    with progress(total=count, done=kept, unit="row", what=f"generate, {name} model") as bar:
        for window in windows(settings):
            asked = [row for row in window if row.id not in journal]
            if asked and settings.precision != "fp32":
                asked = window  # in bf16 the others would round differently without the batch mates that are done
            for response in answering.answer(model, asked, name, settings, tokenizer):
                if response.id not in journal:
                    journal.append(response)
                    bar.update()
                    bar.set_postfix_str(pace.made(response.tokens), refresh=False)


class Pace:
    """Tells how fast a model answers, and now and then how far it is.

    Args:
        name: of the model.
        count: rows in all.
        done: of which were answered before.
        clock: seconds.
    """

    def __init__(self, name: ModelName, count: int, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._count, self._done, self._clock = name, count, done, clock
        self._new = self._tokens = 0
        self._began = self._said = clock()

    def made(self, tokens: int) -> str:
        """One more row is answered; returns the speed."""
        self._done, self._new, self._tokens = self._done + 1, self._new + 1, self._tokens + tokens
        now = self._clock()
        speed = f"{self._tokens / max(now - self._began, 1e-9):,.0f} tokens/s"
        if now - self._said > REPORT_SECONDS:
            self._said = now
            left = duration((self._count - self._done) * (now - self._began) / self._new)
            say(f"{self._name} model: {self._done:,} of {self._count:,} rows, {speed}, {left} left")
        return speed


def effect_of_bf16(
    name: ModelName, journal: Journal, settings: Generate, tokenizer: Tokenizer, device: Device
) -> dict[str, Any]:
    """How many of the first answers are other ones in fp32."""
    rows = list(itertools.islice(read_rows(), COMPARED_ROWS))
    exact = answering.answer(load(name, "fp32", device), rows, name, settings, tokenizer)
    changed = sum(response.text != journal.get(response.id).text for response in exact)
    return {"bf16_compared": len(rows), "bf16_changed": round(changed / len(rows), PLACES)}


def write(journals: dict[ModelName, Journal], settings: Generate, effects: dict[str, Any]) -> None:
    """Write the answers in the order of the rows, and their measures."""
    measures = {name: Measures() for name in settings.models}
    write_records(
        RESPONSES,
        (response for name in settings.models for response in in_order(journals[name], measures[name])),
    )
    found = {name: measures[name].result() | effects.get(name, {}) for name in settings.models}
    write_json(GENERATE_METRICS, found)
    for name in settings.models:
        say(f"{name} model: {describe(found[name])}")
    say(f"the answers: {RESPONSES}")


def in_order(journal: Journal, measures: Measures) -> Iterator[Response]:
    """A journal's answers in the order of the rows, each measured on the way."""
    for row, example in zip(read_rows(), read_references(), strict=True):
        response = journal.get(row.id)
        measures.add(response, example.output, len(row.ids) - row.prompt_length)
        yield response


def clean_up(name: ModelName, journal: Journal) -> None:
    """Remove what no run needs any more: these answers, unless they are kept, and those of runs that never ended."""
    if name not in KEPT:
        journal.clear()
    for path in ANSWERS.glob(f"{name}-*.jsonl"):
        if path != journal.path:
            remove_unless_open(path)


def describe(found: dict[str, Any]) -> str:
    """One line about a model's answers."""
    reasons = ", ".join(f"{name} {found[name]}" for name in ("end_of_text", "max_new_tokens", "context") if found[name])
    line = f"{found['rows']:,} answers, {found['tokens']:,} tokens, ended by {reasons}"
    if blocked := found["no_room"]:
        line += f"; {blocked:,} {'prompt leaves' if blocked == 1 else 'prompts leave'} no room for an answer"
    if "bf16_changed" in found:
        line += f"; bf16 changes {found['bf16_changed']:.0%} of the first {found['bf16_compared']} answers"
    return line
