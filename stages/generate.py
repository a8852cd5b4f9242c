"""generate: an answer to every test prompt, by each model that params.yaml names.

Reads artifacts/tokenize/test.jsonl (the ids of the prompts, and how many the references have), the references in
artifacts/split/test.jsonl and the models. Writes artifacts/generate/responses.jsonl, the models in turn and each one's
answers in the order of the test rows, and metrics.json. Rows are taken a window at a time, so that memory does not grow
with their number; finished answers are kept outside DVC's outputs, so that a killed run goes on.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.common import gpu, params, paths, program
from stages.common.console import progress, say
from stages.common.errors import DataError
from stages.common.files import write_json
from stages.common.params import Generate, Precision
from stages.common.records import Encoded, Example, ModelName, Response, read_records, write_records
from stages.sft.journal import Journal
from stages.sft.measures import Measures

if TYPE_CHECKING:
    from stages.gpt2.model import GPT2
    from stages.gpt2.tokenizer import Tokenizer

TOKENIZE = "dvc repro --force tokenize"
#: Each model's folder, and the command that makes it.
MODELS = {
    "base": (paths.BASE_MODEL, "dvc repro --force download"),
    "tuned": (paths.TUNED_MODEL, "dvc repro --force finetune"),
}
#: What answers depend on besides the values of params.yaml, the prompts and the model.
HERE = Path(__file__).parent
CODE = (*sorted((HERE / "gpt2").glob("*.py")), HERE / "sft" / "answering.py", HERE / "sft" / "encoding.py")

#: Batches in a window. Between windows the last rows of one are waited for, so more make less idle time.
WINDOW_BATCHES = 8
#: Rows, at most a window's, that are answered in fp32 too where bf16 is chosen, to tell how many answers it changes.
COMPARED_ROWS = 32
#: Seconds between two lines on how far it is.
REPORT_SECONDS = 30.0


def main() -> None:
    """Run the stage, on a GPU of its own where there is one."""
    settings = params.load().generate
    with gpu.lease():
        generate(settings)


def generate(settings: Generate) -> None:
    """Check everything, answer everything, and write what the stage promises."""
    # torch looks for GPUs when it is first used, so it is imported once the lease has said which there are.
    from stages.gpt2 import runtime
    from stages.gpt2.tokenizer import Tokenizer

    count = check_rows()
    tokenizer = Tokenizer(paths.TOKENIZER)
    device = runtime.prepare()
    precision = runtime.name_of(runtime.dtype_for(settings.precision, device))
    for name in settings.models:
        load(name, settings.precision)  # for its errors: what is wrong with one is not told after another's answers
    with ExitStack() as stack:
        journals = {
            name: stack.enter_context(Journal(journal_path(name, settings, f"{precision} on {device.type}")))
            for name in sorted(settings.models)  # in one order, so that no two processes wait for one another
        }
        effects: dict[str, Any] = {}
        for name in settings.models:
            model = load(name, settings.precision)
            answer_all(name, model, count, journals[name], settings, tokenizer)
            if precision == "bf16":
                del model  # before fp32 weights take twice its memory
                effects[name] = effect_of_bf16(name, journals[name], settings, tokenizer)
        write(journals, settings, effects)
        for journal in journals.values():
            journal.clear()


def check_rows() -> int:
    """The number of test rows.

    Raises:
        DataError: there is none, or one has no prompt, or ids that no GPT-2 knows.
    """
    from stages.gpt2.tokenizer import VOCABULARY_SIZE

    path = paths.tokens_file("test")
    count = 0
    for count, row in enumerate(read_rows(), 1):  # noqa: B007
        if not 0 < row.prompt_length <= len(row.ids):
            raise DataError(
                f"{path}, row {row.id}: prompt_length: expected 1 to {len(row.ids)}, found {row.prompt_length}",
                TOKENIZE,
            )
        if not 0 <= min(row.ids) <= max(row.ids) < VOCABULARY_SIZE:
            raise DataError(f"{path}, row {row.id}: ids: expected 0 to {VOCABULARY_SIZE - 1}", TOKENIZE)
    if not count:
        raise DataError(f"{path}: no rows to answer", "raise split.test in params.yaml")
    return count


def read_rows() -> Iterator[Encoded]:
    """The test rows, in their order."""
    return read_records(paths.tokens_file("test"), Encoded, made_by="dvc repro tokenize")


def windows(settings: Generate) -> Iterator[list[Encoded]]:
    """The test rows, as many at a time as are answered together."""
    rows = read_rows()
    while window := list(itertools.islice(rows, WINDOW_BATCHES * settings.batch_size)):
        if len({row.id for row in window}) < len(window):
            raise DataError(f"{paths.tokens_file('test')}: two rows have one id", TOKENIZE)
        yield window


def load(name: ModelName, precision: Precision) -> GPT2:
    """One of the models; errors as in `stages.sft.answering.load`."""
    from stages.sft import answering

    folder, made_by = MODELS[name]
    return answering.load(folder, made_by=made_by, precision=precision)


def journal_path(name: ModelName, settings: Generate, machine: str) -> Path:
    """Where a model's answers are kept until all are there: another value, prompt, model or machine, another file."""
    from stages.gpt2 import weights
    from stages.sft.identity import run_key

    folder, _ = MODELS[name]
    inputs = (paths.tokens_file("test"), folder / weights.CONFIG, folder / weights.WEIGHTS)
    key = run_key(settings.model_dump_json(exclude={"models"}), f"{name}, {machine}", *CODE, *inputs)
    return paths.CACHE / "generate" / f"{name}-{key}.jsonl"


def answer_all(
    name: ModelName, model: GPT2, count: int, journal: Journal, settings: Generate, tokenizer: Tokenizer
) -> None:
    """Put an answer to every row that has none yet into the journal."""
    from stages.gpt2 import runtime
    from stages.sft import answering

    with progress(total=count, unit="row", what=f"generate, {name} model") as bar:
        pace = Pace(name, count)
        for window in windows(settings):
            kept = journal.take({row.id for row in window})
            if 0 < len(kept) < len(window) and runtime.name_of(model.wte.weight.dtype) != "fp32":
                # In bf16 the others would round differently without the batch mates that are done: all anew.
                journal.untake()
                kept = {}
            pace.found(len(kept))
            bar.update(len(kept))
            missing = [row for row in window if row.id not in kept]
            for response in answering.answer(model, missing, name, settings, tokenizer):
                journal.append(response)
                bar.update()
                bar.set_postfix_str(pace.made(response.tokens), refresh=False)
            journal.skip_to_end()


class Pace:
    """Tells how fast a model answers, and now and then how far it is.

    Args:
        name: of the model.
        count: rows in all.
    """

    def __init__(self, name: ModelName, count: int) -> None:
        self._name, self._count = name, count
        self._done = self._new = self._tokens = 0
        self._began = self._said = time.monotonic()

    def found(self, rows: int) -> None:
        """So many rows were answered before a run was killed."""
        self._done += rows

    def made(self, tokens: int) -> str:
        """One more row is answered; returns the speed."""
        if self._done and not self._new:
            say(f"{self._name} model: going on behind {self._done:,} answers of a run that was stopped")
        self._done, self._new, self._tokens = self._done + 1, self._new + 1, self._tokens + tokens
        now = time.monotonic()
        speed = f"{self._tokens / max(now - self._began, 1e-9):,.0f} tokens/s"
        if now - self._said > REPORT_SECONDS:
            self._said = now
            left = (self._count - self._done) * (now - self._began) / self._new
            say(f"{self._name} model: {self._done:,} of {self._count:,} rows, {speed}, {left / 60:.0f} minutes left")
        return speed


def effect_of_bf16(name: ModelName, journal: Journal, settings: Generate, tokenizer: Tokenizer) -> dict[str, Any]:
    """How many of the first answers are other ones in fp32."""
    from stages.sft import answering

    window = next(windows(settings))
    rows = window[:COMPARED_ROWS]
    journal.rewind()
    kept = journal.take({row.id for row in window})
    exact = answering.answer(load(name, "fp32"), rows, name, settings, tokenizer)
    changed = sum(response.text != kept[response.id].text for response in exact)
    return {"bf16_compared": len(rows), "bf16_changed": round(changed / len(rows), 4)}


def write(journals: dict[ModelName, Journal], settings: Generate, effects: dict[str, Any]) -> None:
    """Write the answers in the order of the rows, and their measures."""
    measures = {name: Measures() for name in settings.models}
    write_records(
        paths.RESPONSES,
        (response for name in settings.models for response in in_order(journals[name], settings, measures[name])),
    )
    found = {name: measures[name].result() | effects.get(name, {}) for name in settings.models}
    write_json(paths.GENERATE_METRICS, found)
    for name in settings.models:
        say(f"{name} model: {describe(found[name])}")
    say(f"the answers: {paths.RESPONSES}")


def in_order(journal: Journal, settings: Generate, measures: Measures) -> Iterator[Response]:
    """A journal's answers in the order of the rows, each measured on the way.

    Raises:
        DataError: the references are not those of the test rows.
    """
    split = paths.split_file("test")
    references = read_records(split, Example, made_by="dvc repro split")
    journal.rewind()
    for window in windows(settings):
        found = journal.take({row.id for row in window})
        for row in window:
            example = next(references, None)
            if example is None or example.id != row.id:
                found_id = example.id if example else "the end"
                raise DataError(f"{split}: expected the row {row.id}, found {found_id}", TOKENIZE)
            measures.add(found[row.id], example.output, len(row.ids) - row.prompt_length)
            yield found[row.id]


def describe(found: dict[str, Any]) -> str:
    """One line about a model's answers."""
    reasons = ", ".join(f"{name} {found[name]}" for name in ("end_of_text", "max_new_tokens", "context") if found[name])
    line = f"{found['rows']:,} answers, {found['tokens']:,} tokens, ended by {reasons}"
    if found["no_room"]:
        line += f"; {found['no_room']} prompts leave no room for an answer"
    if "bf16_changed" in found:
        line += f"; bf16 changes {found['bf16_changed']:.0%} of the first {found['bf16_compared']} answers"
    return line


if __name__ == "__main__":
    program.run("generate", main)
