"""Answers every test prompt by each model, and measures the answers.

Rows are read a window at a time, so that only their ids and the offsets of their answers are held in memory. Finished
answers are kept in a journal outside DVC's outputs, so that a killed run goes on where it stopped.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from stages.common import paths
from stages.common.metrics.generate import AnswerMetrics, GenerateMetrics
from stages.common.records import ModelName, Precision, write_metrics, write_records
from stages.common.results.download import BASE_MODEL, TOKENIZER
from stages.common.results.finetune import TUNED_MODEL
from stages.common.results.generate import GENERATE_METRICS, RESPONSES, Response
from stages.common.results.tokenize import Encoded, tokens_file
from stages.generate import answering, kv_memory, rows
from stages.generate.journal import Journal, keep_newest
from stages.generate.measures import PLACES, Measures
from stages.generate.rows import Rows
from stages.gpt2 import prepacked, products, runtime, weights
from stages.gpt2.inference import Network
from stages.gpt2.model import GPT2Config
from stages.gpt2.prepacked import Layout
from stages.gpt2.runtime import Device
from stages.gpt2.tokenizer import Tokenizer
from stages.params.generate import Generate
from stages.running import answer_progress, bookkeeping, dvc_cache, held, measured, writable
from stages.running.code_of import code_behind
from stages.running.console import say, size
from stages.running.run_key import run_key


class Source(NamedTuple):
    """A model's folder, and the command that makes it."""

    folder: Path
    made_by: str


MODELS: dict[ModelName, Source] = {
    "base": Source(BASE_MODEL, "dvc repro --force download"),
    "tuned": Source(TUNED_MODEL, "dvc repro --force finetune"),
}
#: The folder of the journals.
ANSWERS = paths.CACHE / "generate"
#: Models whose journal stays when all answers are there: the base model is the same for every fine-tuning.
KEPT: tuple[ModelName, ...] = ("base",)

#: Batches in a window. At a window's end slots are idle until its last rows are answered; long windows make that rarer.
WINDOW_BATCHES = 8
#: Rows that are also answered in fp32 where bf16 is used, to tell how many answers it changes.
COMPARED_ROWS = 32


@dataclass(frozen=True)
class Job:
    """What one model has to answer, and how.

    Args:
        name: name of the model.
        settings: how it answers; the precision is "fp32" or "bf16".
        rows: size of the test set.
        tokenizer: tokenizer of the answers.
        device: device of the model.
        journal: journal of its finished answers, open.
    """

    name: ModelName
    settings: Generate
    rows: Rows
    tokenizer: Tokenizer
    device: Device
    journal: Journal

    def load(self, precision: Precision) -> Network:
        """The model; errors as in `stages.generate.answering.load`, and a ConfigError if it does not fit."""
        folder, made_by = MODELS[self.name]
        with no_room_explained(self.name, precision, self.settings):
            layout = layout_for(self.name, precision, self.settings, self.device)
            dtype = runtime.dtype_for(precision, self.device)
            return answering.load(folder, made_by=made_by, dtype=dtype, device=self.device, layout=layout)

    def answer(self, model: Network, chosen: list[Encoded]) -> Iterator[Response]:
        """Answers to some rows, in the order in which they are finished."""
        return answering.answer(model, chosen, self.name, self.settings, self.tokenizer)

    def shortage_explained(self) -> AbstractContextManager[None]:
        """As `stages.generate.kv_memory.shortage_explained`, for this model."""
        return kv_memory.shortage_explained(
            sizes_of(self.name), self.settings, rows=self.rows.count, longest=self.rows.longest
        )


class Bf16Effect(NamedTuple):
    """How bf16 changes a model's answers.

    Args:
        compared: number of rows that were answered in fp32 too.
        changed: share of them with another answer.
    """

    compared: int
    changed: float


def generate(settings: Generate) -> None:
    """Check all inputs, answer every row by each model, and write the answers and their metrics."""
    writable.require(ANSWERS)  # where each answer is kept as it comes
    device = runtime.prepare()
    found = rows.check()
    tokenizer = Tokenizer(TOKENIZER)
    for name in settings.models:  # before any model answers, which may take hours
        folder, made_by = MODELS[name]
        with no_room_explained(name, "fp32", settings):
            answering.check(folder, made_by=made_by)
    chosen = products.chosen(settings.precision, device, sizes_of(settings.models[0]).n_embd, measured.once)
    settings = settings.model_copy(update={"precision": chosen})  # what "auto" is on this machine
    with no_room_explained(settings.models[0], chosen, settings):
        where = f"{device.type}, weights {layout_for(settings.models[0], chosen, settings, device)}"
    with ExitStack() as stack:
        journals = {
            name: stack.enter_context(Journal(journal_path(name, settings, where)))
            for name in sorted(settings.models)  # in a fixed order, so that no two processes wait for one another
        }
        jobs = [Job(name, settings, found, tokenizer, device, journals[name]) for name in settings.models]
        for job in jobs:
            answer_all(job)
        effects = {job.name: effect_of_bf16(job) for job in jobs if settings.precision == "bf16"}
        write(jobs, effects)
        if not held.changed():  # else the stage fails, and takes them if the change is put back
            for job in jobs:
                clean_up(job)


def sizes_of(name: ModelName) -> GPT2Config:
    """The sizes of a model, from its config.json; errors as in `stages.gpt2.weights.read_config`."""
    folder, made_by = MODELS[name]
    return weights.read_config(folder / weights.CONFIG, made_by=made_by)


def layout_for(name: ModelName, precision: Precision, settings: Generate, device: Device) -> Layout:
    """The layout of a model's weights in a precision, "bf16" or "fp32", as `stages.gpt2.prepacked.layout_for`."""
    dtype = runtime.dtype_for(precision, device)
    return prepacked.layout_for(dtype, device, sizes_of(name).n_embd, settings.batch_size, measured.once)


def no_room_explained(name: ModelName, precision: Precision, settings: Generate) -> AbstractContextManager[None]:
    """As `stages.generate.kv_memory.no_room_for_model_explained`, for a model in a precision, "bf16" or "fp32"."""
    lower = precision == settings.precision == "fp32"
    return kv_memory.no_room_for_model_explained(
        sizes_of(name).parameters,
        MODELS[name].folder,
        bf16=precision == "bf16",
        instead="set generate.precision: bf16 in params.yaml" if lower else None,
    )


def journal_path(name: ModelName, settings: Generate, where: str) -> Path:
    """The path of a model's journal, another one for other settings, prompts, weights, code, or another machine.

    Args:
        name: name of the model.
        settings: how it answers.
        where: the kind of device, and the layout of the weights there.
    """
    folder, _ = MODELS[name]
    inputs = (tokens_file("test"), folder / weights.CONFIG, folder / weights.WEIGHTS)
    key = run_key(settings.model_dump_json(exclude={"models"}), f"{name} on {where}", *_code(), *inputs)
    return ANSWERS / f"{name}-{key}.jsonl"


def _code() -> tuple[Path, ...]:
    """The code that the answers depend on: how they are measured and written is left out, so that it may change."""
    return (Path(__file__), *code_behind("stages.generate.answering", "stages.generate.rows"))


def answer_all(job: Job) -> None:
    """Answer every row that has no answer in the journal. The model is in memory only meanwhile."""
    answer_progress.say_kept(job.name, len(job.journal), job.rows.count)
    if len(job.journal) == job.rows.count:
        return
    with (
        job.shortage_explained(),
        answer_progress.AnswerProgress(job.name, job.rows.count, len(job.journal)) as progress,
    ):
        model = job.load(job.settings.precision)
        for window in rows.windows(WINDOW_BATCHES * job.settings.batch_size):
            missing = [row for row in window if row.id not in job.journal]
            # In bf16 rows round differently without the batch mates that they had, so that all are answered again.
            chosen = window if missing and job.settings.precision != "fp32" else missing
            for response in job.answer(model, chosen):
                if response.id not in job.journal:
                    job.journal.append(response)
                    progress.answered(response.tokens)


def effect_of_bf16(job: Job) -> Bf16Effect:
    """Answer the first rows in fp32 too, and compare."""
    first = list(itertools.islice(rows.tokens(), COMPARED_ROWS))
    with job.shortage_explained():
        exact = job.answer(job.load("fp32"), first)
        changed = sum(response.text != job.journal.get(response.id).text for response in exact)
    return Bf16Effect(len(first), round(changed / len(first), PLACES))


def write(jobs: list[Job], effects: dict[ModelName, Bf16Effect]) -> None:
    """Write the answers, the models in turn and each one's in the order of the rows, and their metrics."""
    measures = {job.name: Measures() for job in jobs}
    write_records(RESPONSES, (response for job in jobs for response in in_order(job, measures[job.name])))
    found: dict[ModelName, AnswerMetrics] = {}
    for job in jobs:
        found[job.name] = measures[job.name].result()
        if effect := effects.get(job.name):
            found[job.name] = found[job.name].with_bf16_effect(compared=effect.compared, changed=effect.changed)
    write_metrics(GENERATE_METRICS, GenerateMetrics(**found))
    for name, metrics in found.items():
        say(f"{name} model: {answer_progress.describe(metrics)}")
    say(f"the answers: {RESPONSES}")


def in_order(job: Job, measures: Measures) -> Iterator[Response]:
    """A model's answers in the order of the rows, each measured on the way."""
    for row, example in zip(rows.tokens(), rows.references(), strict=True):
        response = job.journal.get(row.id)
        measures.add(response, example.output, len(row.ids) - row.prompt_length)
        yield response


def clean_up(job: Job) -> None:
    """Remove the model's journal, unless it is kept, and the oldest of its other runs; say what stays.

    No result depends on it.
    """
    with bookkeeping.optional(job.journal.path):
        if short := dvc_cache.shortage(RESPONSES, RESPONSES.stat().st_size):
            say(f"{short}. The answers stay in {job.journal.path}. If DVC fails, free some space and run: dvc repro")
        elif job.name not in KEPT:
            job.journal.clear()
        if others := keep_newest(job.journal.path, f"{job.name}-*.jsonl"):
            taken = size(sum(path.stat().st_size for path in others))
            runs = "another run" if len(others) == 1 else f"{len(others)} other runs"
            say(f"{ANSWERS} keeps answers of the {job.name} model from {runs}, {taken}; rm those not needed")
