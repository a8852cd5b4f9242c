"""The answers of runs, and the rows on which they can be set side by side: those with one prompt and one reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.common.errors import ConfigError, DataError
from stages.common.files import read_json
from stages.common.plurals import word
from stages.common.records import Metrics, ModelName, read_records
from stages.common.results.generate import RESPONSES, Response
from stages.common.results.split import Example, split_file
from stages.judge.judges.protocol import Question
from stages.judge.runs.places import MADE_BY
from stages.judge.runs.sources import Run
from stages.running import temporary
from stages.running.tracking import answers_table, lookup

#: Ids of rows that are named where there are more.
_MOST_NAMED = 5


@dataclass(frozen=True)
class Answered:
    """A test row with one model's answer to it."""

    instruction: str
    input: str
    reference: str
    answer: str

    @property
    def prompt(self) -> tuple[str, str]:
        """What the model was asked."""
        return self.instruction, self.input


def answers_of(run: Run, model: ModelName) -> dict[str, Answered]:
    """The answers of one model of a run, by id of the row, in the order of the rows.

    Those of an MLflow run come from its table of answers, and all others from the results of split and generate.

    Raises:
        ConfigError: the model has not answered, or an MLflow run holds no table of answers.
        DataError: a file is not there, or not what it should be.
        ServiceUnavailable: MLflow does not answer.
    """
    found = _in_table(run, model) if run.place.mlflow else _in_files(run, model)
    if not found:
        raise ConfigError(f"{run.name}: no answers of the model {model}", "--model NAME, or name another run")
    return found


def _in_files(run: Run, model: ModelName) -> dict[str, Answered]:
    rows = run.place.file(split_file("test"), "split", name=run.name)
    responses = run.place.file(RESPONSES, "generate", name=run.name)
    given = {row.id: row.text for row in read_records(responses, Response, made_by=MADE_BY) if row.model == model}
    return {
        row.id: Answered(row.instruction, row.input, row.output, given[row.id])
        for row in read_records(rows, Example, made_by=MADE_BY)
        if row.id in given
    }


def _in_table(run: Run, model: ModelName) -> dict[str, Answered]:
    with temporary.folder() as folder:
        files = lookup.download(Path(), run.place.mlflow, [answers_table.ANSWERS], folder)
        if files is None:
            raise ConfigError(f"{run.name}: MLflow has no such run any more", "make runs shows the runs that there are")
        table = read_json(files[0], made_by=MADE_BY)
    try:
        rows = answers_table.rows_of(table)
        return {_text(row["id"]): _answered(row, model) for row in rows if row.get(model) is not None}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{run.name}: {answers_table.ANSWERS}: no table of answers: {error!r}", MADE_BY) from None


def _answered(row: Mapping[str, Any], model: ModelName) -> Answered:
    return Answered(*(_text(row[column]) for column in ("instruction", "input", "reference", model)))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, found {value!r}")
    return value


class Rows(Metrics):
    """Which rows of several runs are compared, and which are left out.

    Args:
        compared: rows that all runs have with one prompt and one reference.
        not_in_all: number of rows of each run that not all runs have.
        unanswered: number of rows of each run with a verdict and without an answer, as beyond the table of MLflow.
        another_prompt: ids that all have, but with different instructions or inputs.
        another_reference: ids that all have with one prompt, but with different references.
    """

    compared: int
    not_in_all: list[int]
    unanswered: list[int]
    another_prompt: list[str]
    another_reference: list[str]

    def left_out(self, names: Sequence[str]) -> str:
        """The rows that are left out, and why, in words; an empty text where there are none.

        Args:
            names: what to call the runs.
        """
        alone = "alone" if len(names) == 2 else "that not all have"
        found = [f"{count} of {name} {alone}" for name, count in zip(names, self.not_in_all, strict=True) if count]
        found += [
            f"{count} of {name} whose {word(count, 'answer is', 'answers are')} not kept"
            for name, count in zip(names, self.unanswered, strict=True)
            if count
        ]
        for ids, what in ((self.another_prompt, "prompts"), (self.another_reference, "references")):
            if ids:
                named = ", ".join(ids[:_MOST_NAMED]) + (", ..." if len(ids) > _MOST_NAMED else "")
                found.append(f"{len(ids)} with different {what} ({named})")
        return ", ".join(found)


@dataclass(frozen=True)
class Shared:
    """The rows that several runs have answered, with one prompt and one reference.

    Attributes:
        rows: the answers of all runs to each of these rows, by id; in the order of the first run's rows.
        counts: which rows these are, and which are left out.
    """

    rows: Mapping[str, Sequence[Answered]]
    counts: Rows

    def questions(self, a: int, b: int) -> list[Question]:
        """Two runs' answers to all rows, as the stage judge takes those of its two models.

        Args:
            a: index of the run whose answers stand for those of the base model.
            b: index of the run whose answers stand for those of the tuned model.
        """
        models: tuple[tuple[ModelName, int], ...] = (("base", a), ("tuned", b))
        return [
            Question(id, model, row[index].instruction, row[index].input, row[index].reference, row[index].answer)
            for id, row in self.rows.items()
            for model, index in models
        ]


def shared(runs: Sequence[Run], model: ModelName) -> Shared:
    """The rows on which the answers of runs can be set side by side.

    Args:
        runs: the runs, at least one.
        model: the model whose answers are compared.

    Raises:
        ConfigError, DataError, ServiceUnavailable: as `answers_of`.
    """
    found = [answers_of(run, model) for run in runs]
    common = [id for id in found[0] if all(id in run for run in found)]
    one_prompt = [id for id in common if len({run[id].prompt for run in found}) == 1]
    same = [id for id in one_prompt if len({run[id].reference for run in found}) == 1]
    judged = [{verdict.id for verdict in run.verdicts if verdict.model == model} for run in runs]
    counts = Rows(
        compared=len(same),
        not_in_all=[len(run) - len(common) for run in found],
        unanswered=[len(ids - run.keys()) for ids, run in zip(judged, found, strict=True)],
        another_prompt=sorted({*common} - {*one_prompt}),
        another_reference=sorted({*one_prompt} - {*same}),
    )
    return Shared({id: [run[id] for run in found] for id in same}, counts)
