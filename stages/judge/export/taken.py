"""What is taken away: a run's model, and the questions and answers that show whether it is still the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.common.errors import ConfigError, DataError
from stages.common.files import read_json
from stages.common.metrics.finetune import FinetuneMetrics
from stages.common.metrics.judge import JudgeMetrics
from stages.common.records import read_metrics, read_records
from stages.common.results.download import TOKENIZER
from stages.common.results.finetune import FINETUNE_METRICS, TUNED_MODEL
from stages.common.results.generate import RESPONSES, Response
from stages.common.results.judge import JUDGE_METRICS
from stages.common.results.split import SPLIT_METRICS, Example, split_file
from stages.common.results.tokenize import tokens_file
from stages.common.token_files import TokenRows
from stages.gpt2 import weights
from stages.judge.rescore import params_of
from stages.judge.runs.places import MADE_BY
from stages.judge.runs.sources import Run, find_run
from stages.params.whole import Params
from stages.prompts.prompt import PromptStyle, load_style
from stages.running import temporary
from stages.tokenize.chat_template import content_of

#: The results that are read, by the stage that has made them.
_READ = {
    TUNED_MODEL: "finetune",
    FINETUNE_METRICS: "finetune",
    RESPONSES: "generate",
    split_file("train"): "split",
    split_file("test"): "split",
    SPLIT_METRICS: "split",
    tokens_file("test"): "tokenize",
    TOKENIZER: "download",
    JUDGE_METRICS: "judge",
}
_GREEDY = "python -m flows.run --set generate.temperature=0 makes one with the answers that can be compared"


@dataclass(frozen=True)
class Row:
    """A test row as another program is asked it.

    Attributes:
        id: id of the row.
        message: message for a chat template that knows ``input``.
        content: text of a message that gives the same prompt in any chat client; None where there is no such text.
        prompt: text of the prompt.
        ids: ids of the prompt, as the pipeline has them.
        most: tokens of the longest answer, its end-of-text included.
        expected: the answer of the pipeline.
    """

    id: str
    message: Mapping[str, str]
    content: str | None
    prompt: str
    ids: Sequence[int]
    most: int
    expected: Response


@dataclass(frozen=True)
class Taken:
    """A run that is taken away.

    Attributes:
        name: name that the user gave it.
        root: folder with links to its results, under the paths of `stages.common.results`.
        params: its values, with the built-in judge.
        values: its values as a tree, as they were recorded.
        config: what the model's config.json holds.
        style: its prompt style.
        rows: the test rows whose prompts leave room for an answer, in the order of the file.
        responses: all answers of the tuned model.
        training: the figures of its training.
        judged: the figures of its judge.
    """

    name: str
    root: Path
    params: Params
    values: Mapping[str, Any]
    config: Mapping[str, Any]
    style: PromptStyle
    rows: Sequence[Row]
    responses: Sequence[Response]
    training: FinetuneMetrics
    judged: JudgeMetrics

    @property
    def model(self) -> Path:
        """The folder of its model."""
        return self.root / TUNED_MODEL


@contextlib.contextmanager
def taken(name: str) -> Iterator[Taken]:
    """Find a run, and link its results into a folder for the length of the block.

    Args:
        name: what `stages.judge.runs.sources.find_run` takes.

    Raises:
        ConfigError: it is no run; or its answers were drawn, which no other program draws again.
        DataError: results are missing or broken.
        ServiceUnavailable: MLflow does not answer.
    """
    run = find_run(name)
    builtin: dict[str, Any] = {"backend": "reference", "mode": "score", "panel": [], "calibration": None}
    params = params_of(run, [(f"judge.{key}", value) for key, value in builtin.items()])
    if params.generate.temperature > 0:
        what = f"{name}: generate.temperature: expected 0, found {params.generate.temperature}: its answers were drawn"
        raise ConfigError(f"{what} at random, and no other program draws the same", _GREEDY)
    with temporary.folder() as folder:
        _link(run, folder)
        yield _read(run, folder, params)


def _link(run: Run, folder: Path) -> None:
    for path, stage in _READ.items():
        for there, source in run.place.files(path, stage, name=run.name):
            link = folder / there
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source.resolve())


def _read(run: Run, folder: Path, params: Params) -> Taken:
    model = folder / TUNED_MODEL
    style = load_style(model, made_by=MADE_BY)
    config = read_json(model / weights.CONFIG, made_by=MADE_BY)
    read = read_records(folder / RESPONSES, Response, made_by=MADE_BY)
    responses = [response for response in read if response.model == "tuned"]
    return Taken(
        name=run.name,
        root=folder,
        params=params,
        values=run.place.values(name=run.name),
        config=config,
        style=style,
        rows=_rows(folder, style, responses, params.generate.max_new_tokens, int(config["n_positions"])),
        responses=responses,
        training=read_metrics(folder / FINETUNE_METRICS, FinetuneMetrics, made_by=MADE_BY),
        judged=read_metrics(folder / JUDGE_METRICS, JudgeMetrics, made_by=MADE_BY),
    )


def _rows(folder: Path, style: PromptStyle, responses: Sequence[Response], most: int, context: int) -> list[Row]:
    """The rows that are asked: without those whose prompt leaves no room for an answer.

    Raises:
        DataError: a row has no tokens, or no answer.
    """
    encoded = {row.id: row for row in TokenRows(folder / tokens_file("test"), made_by=MADE_BY)}
    answers = {response.id: response for response in responses}
    found = []
    for example in read_records(folder / split_file("test"), Example, made_by=MADE_BY):
        if example.id not in encoded or example.id not in answers:
            missing = "tokens" if example.id not in encoded else "an answer of the tuned model"
            raise DataError(f"test row {example.id}: expected {missing}, found none", MADE_BY)
        tokens = encoded[example.id]
        ids = tokens.ids[: tokens.prompt_length]
        if len(ids) < context:
            found.append(_row(example, style, ids, min(most, context - len(ids)), answers[example.id]))
    return found


def _row(example: Example, style: PromptStyle, ids: Sequence[int], most: int, expected: Response) -> Row:
    message = {"role": "user", "content": example.instruction, "input": example.input}
    content = content_of(style, example.instruction, example.input)
    return Row(example.id, message, content, style.prompt(example.instruction, example.input), ids, most, expected)
