"""The answers of a run beside instruction, reference and scores, as a table of MLflow: the worst answers first.

MLflow's page shows the columns from the left and the rows from the top. A wide table ends where the window does, so
what a person reads first stands first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stages.common.records import ModelName, read_records
from stages.common.results.generate import RESPONSES, Response
from stages.common.results.judge import VERDICTS, Verdict
from stages.common.results.split import Example, split_file

#: The file in the run.
ANSWERS = "judge/answers.json"
#: The most rows that it holds. Of more they are drawn by a hash of their ids: a fair sample, and the same rows of every
#: run on these test rows. Other programs read the table as the run's answers, so the worst ones would not do.
MOST_ROWS = 2000

#: The columns of each model: its answer, the score of that, whether it is right, and how the judge came out.
_COLUMNS: dict[ModelName, tuple[str, str, str, str]] = {
    "base": ("before", "score_before", "right_before", "verdict_before"),
    "tuned": ("after", "score", "right", "verdict"),
}
_MODELS: tuple[ModelName, ...] = ("base", "tuned")


def made(root: Path) -> dict[str, list[Any]] | None:
    """The columns and all rows of the table; None where a file is missing.

    Args:
        root: folder with artifacts/.

    Raises:
        DataError: a file is not what it should be.
    """
    if not all((root / file).exists() for file in (split_file("test"), RESPONSES, VERDICTS)):
        return None
    responses = read_records(root / RESPONSES, Response, made_by="dvc repro generate")
    texts: dict[tuple[str, str], str] = {(row.id, row.model): row.text for row in responses}
    judged = read_records(root / VERDICTS, Verdict, made_by="dvc repro judge")
    verdicts: dict[tuple[str, str], Verdict] = {(row.id, row.model): row for row in judged}
    there = [model for model in _MODELS if any(model == of for _, of in texts)]
    scored: ModelName = "tuned" if "tuned" in there else "base"
    before = [model for model in there if model != scored]
    columns = ["instruction", "reference", *(_COLUMNS[model][0] for model in there), *_COLUMNS[scored][1:3]]
    columns += ["input", *(name for model in before for name in _COLUMNS[model][1:])]
    columns += [_COLUMNS[scored][3], "faults", "category", "id", "row"]
    rows: list[dict[str, Any]] = []
    for number, example in enumerate(
        read_records(root / split_file("test"), Example, made_by="dvc repro split"), start=1
    ):
        of_scored = verdicts.get((example.id, scored))
        row: dict[str, Any] = {
            "instruction": example.instruction,
            "input": example.input,
            "reference": example.output,
            "category": example.category,
            "id": example.id,
            "row": number,
            "faults": ", ".join(of_scored.faults) if of_scored else "",
        }
        for model in there:
            row |= _of_model(model, texts.get((example.id, model)), verdicts.get((example.id, model)))
        rows.append(row)
    rows.sort(key=lambda row: _badness(row, _COLUMNS[scored]))
    return {"columns": columns, "data": [[row[name] for name in columns] for row in rows]}


def sample(table: Mapping[str, Any], most: int = MOST_ROWS) -> dict[str, list[Any]]:
    """The table with so many of its rows at most, in their order.

    Args:
        table: what `made` gives.
        most: the most rows.
    """
    columns = list(table["columns"])
    at = columns.index("id")
    chosen = drawn((row[at] for row in table["data"]), most)
    return {"columns": columns, "data": [row for row in table["data"] if row[at] in chosen]}


def drawn(ids: Iterable[str], most: int = MOST_ROWS) -> frozenset[str]:
    """The ids of the rows that the table of a run holds. Of those that it holds, all are drawn again.

    Args:
        ids: ids of all rows.
        most: the most rows.
    """
    return frozenset(sorted(set(ids), key=lambda id: hashlib.sha256(id.encode()).digest())[:most])


def rows_of(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a table that was read from a run, in the order of the test rows.

    Each has id, category, instruction, input and reference, and for each model that answered its answer under the
    model's name and ``MODEL_score``. Tables of version 0.2 have these columns.

    Raises:
        KeyError, TypeError, ValueError: it is no such table.
    """
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    if not rows or "row" not in rows[0]:
        return rows
    rows.sort(key=lambda row: int(row["row"]))
    for row in rows:
        for model, (answer, score, _, _) in _COLUMNS.items():
            if answer in row:
                row |= {model: row[answer], f"{model}_score": row[score]}
    return rows


def _of_model(model: ModelName, text: str | None, verdict: Verdict | None) -> dict[str, Any]:
    answer, score, right, how = _COLUMNS[model]
    if verdict is None:
        return {answer: text, score: None, right: "", how: ""}
    return {answer: text, score: verdict.score, right: _IN_WORDS[verdict.right], how: verdict.status}


#: What the judge says of an answer; a language model grades, and does not say it.
_IN_WORDS = {True: "right", False: "wrong", None: ""}


def _badness(row: Mapping[str, Any], columns: tuple[str, str, str, str]) -> tuple[bool, bool, float, int]:
    """Sorts wrong answers before right ones, then by score from the lowest; answers without a score come last."""
    _, score, right, _ = columns
    points = row[score]
    return points is None, row[right] == "right", 0.0 if points is None else float(points), int(row["row"])
