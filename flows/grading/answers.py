"""The answers of a run that people can grade, each without the name of its model."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.common.errors import ConfigError, DataError
from stages.common.files import read_json
from stages.common.plurals import counted
from stages.common.records import ModelName, read_records
from stages.common.results.generate import RESPONSES, Response
from stages.common.results.judge import VERDICTS, Verdict
from stages.common.results.split import Example, split_file
from stages.running import temporary
from stages.running.tracking import answers_table, lookup

#: The name of a run that stands for the results in this folder.
HERE = "."
_MODELS: tuple[ModelName, ...] = ("base", "tuned")
_COLUMNS = ("id", "category", "instruction", "input", "reference")


@dataclass(frozen=True)
class Item:
    """An answer to grade. Where both models gave the same answer to a row, it is one item of both.

    Attributes:
        id: id of the row.
        category: category of the row.
        instruction: the instruction.
        input: its input; may be empty.
        reference: the right answer of the dataset.
        answer: the answer to grade.
        models: the models that gave it.
        scored: whether the judge has scored it, or has scored none at all.
    """

    id: str
    category: str
    instruction: str
    input: str
    reference: str
    answer: str
    models: tuple[ModelName, ...]
    scored: bool = True

    @property
    def key(self) -> str:
        """A name of the answer, 16 hexadecimal digits, that tells nothing of the model."""
        return hashlib.sha256(f"{self.id}\0{self.answer.strip()}".encode()).hexdigest()[:16]


def of_run(root: Path, name: str) -> list[Item]:
    """All answers of a run, of which some may be without a score.

    Args:
        root: folder of the project.
        name: id or name of an MLflow run, or the beginning of one that no other has; or `HERE`.

    Returns:
        One item a row and answer, in the order of the test rows.

    Raises:
        ConfigError: there is no such run, or the name is empty, or it holds no answers.
        DataError: answers are missing or broken.
        ServiceUnavailable: MLflow does not answer.
    """
    lookup.require_name(name)
    return _of_folder(root) if name == HERE else _of_mlflow(root, name)


def in_words(items: Sequence[Item]) -> str:
    """How many answers these are, to how many rows: a row has an answer of each model, or one that both gave.

    >>> in_words([Item("a", "", "", "", "", "x", ("base",)), Item("a", "", "", "", "", "y", ("tuned",))])
    '2 answers to 1 row (of both models; equal ones count once)'
    """
    rows = len({item.id for item in items})
    both = len({model for item in items for model in item.models}) > 1
    why = " (of both models; equal ones count once)" if both else ""
    return f"{counted(len(items), 'answer')} to {counted(rows, 'row')}{why}"


def digest(items: Iterable[Item]) -> str:
    """A name for all answers of a run, 12 hexadecimal digits: answers of another training have another one.

    It depends on no verdict, so that grades stay with the answers when another judge scores them. Of many rows it is of
    those that MLflow's table holds: a run has one name, whether its answers are read from there or from its folder.
    """
    items = list(items)
    rows = answers_table.drawn(item.id for item in items)
    keys = sorted(item.key for item in items if item.id in rows)
    return hashlib.sha256("".join(keys).encode()).hexdigest()[:12]


def is_of_folder(root: Path, name: str, digest_of_run: str) -> bool:
    """Whether the answers of a run are those in this folder, which has none before its first training.

    Args:
        root: folder of the project.
        name: the run, as `of_run` takes it.
        digest_of_run: `digest` of its answers.

    Raises:
        DataError: the answers in this folder are broken.
    """
    if name == HERE:
        return True
    return (root / RESPONSES).exists() and digest(of_run(root, HERE)) == digest_of_run


def _of_folder(root: Path) -> list[Item]:
    answers: dict[tuple[str, ModelName], str] = {
        (row.id, row.model): row.text for row in read_records(root / RESPONSES, Response, made_by="dvc repro generate")
    }
    scored: set[tuple[str, ModelName]] = set()
    if (root / VERDICTS).exists():
        verdicts = read_records(root / VERDICTS, Verdict, made_by="dvc repro judge")
        scored = {(row.id, row.model) for row in verdicts if row.score is not None}
    found: list[Item] = []
    for row in read_records(root / split_file("test"), Example, made_by="dvc repro split"):
        given = {model: answers[row.id, model] for model in _MODELS if (row.id, model) in answers}
        by = {model for model in given if not scored or (row.id, model) in scored}
        found += _items((row.id, row.category, row.instruction, row.input, row.output), given, by)
    return found


def _of_mlflow(root: Path, given: str) -> list[Item]:
    name = lookup.full_name(root, given)
    if name is None:
        what = f"{given}: no such MLflow run{lookup.did_you_mean(root, given)}"
        raise ConfigError(what, f"make runs lists them; {HERE} is this folder")
    with temporary.folder() as folder:
        files = lookup.download(root, name, [answers_table.ANSWERS], folder)
        if files is None:
            raise ConfigError(f"{name}: the MLflow run is no longer there", "make runs lists them")
        table = read_json(files[0], made_by=f"name another run than {name}")
    try:
        return _of_table(answers_table.rows_of(table))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{name}: {answers_table.ANSWERS}: no table of answers: {error!r}", "name another run"
        ) from None


def _of_table(rows: Sequence[Mapping[str, Any]]) -> list[Item]:
    is_scored = any(row.get(f"{model}_score") is not None for row in rows for model in _MODELS)
    found: list[Item] = []
    for row in rows:
        given = {model: str(row[model]) for model in _MODELS if row.get(model) is not None}
        by = {model for model in given if not is_scored or row[f"{model}_score"] is not None}
        found += _items([str(row[column]) for column in _COLUMNS], given, by)
    return found


def _items(row: Sequence[str], given: Mapping[ModelName, str], scored: Collection[ModelName]) -> list[Item]:
    """The different answers to a row.

    Args:
        row: id, category, instruction, input and reference.
        given: answer of each model.
        scored: the models whose answer has a score.
    """
    models: dict[str, list[ModelName]] = {}
    for model, text in given.items():
        models.setdefault(text.strip(), []).append(model)
    id, category, instruction, input, reference = row
    return [
        Item(id, category, instruction, input, reference, text, tuple(names), any(name in scored for name in names))
        for text, names in models.items()
    ]
