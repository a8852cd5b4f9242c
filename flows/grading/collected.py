"""From grades to the file of human labels, and to judge.calibration in params.yaml, which names it by its SHA-256."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from flows import profiles
from flows.grading.answers import Item
from stages.common import paths
from stages.common.errors import DataError
from stages.common.files import atomic_file, sha256
from stages.common.labels import LEAST, LabelRow
from stages.common.records import read_records, write_records

FOLDER = Path("grades")


@dataclass(frozen=True)
class Collected:
    """What was written.

    Attributes:
        file: the file of human labels, relative to the project.
        sha256: its SHA-256.
        named: whether params.yaml names it.
        counts: labels in it, by model.
    """

    file: Path
    sha256: str
    named: bool
    counts: Mapping[str, int]


def from_both(queue: Mapping[str, Sequence[float]], terminal: Mapping[str, float]) -> dict[str, Sequence[float]]:
    """The grades of answers from the queue and from the terminal, by the keys of the answers.

    Those of the queue count where an answer has both: the terminal knows no names, and whoever has graded an answer in
    both would count for two.
    """
    return {key: [score] for key, score in terminal.items()} | dict(queue)


def collect(
    root: Path, name: str, items: Sequence[Item], grades: Mapping[str, Sequence[float]], *, of_folder: bool
) -> Collected:
    """Write the file of human labels, and name it in params.yaml if it is of the answers in this folder.

    A label is the mean of the grades that people gave an answer. An answer that both models gave is a label of each.
    Labels of other answers that the file has already stay; one of these answers that has no grade any more goes.

    Args:
        root: folder of the project.
        name: name of the file, without its ending.
        items: the run's answers.
        grades: grades by the keys of their answers, one a person, from 0 to 100.
        of_folder: whether the folder's answers are these; labels of others would calibrate nothing in it.

    Raises:
        DataError: fewer than `LEAST` answers have a label, or the file that is there is broken; nothing is written.
        ConfigError: params.yaml is wrong; nothing is written.
    """
    file = FOLDER / f"{name}.jsonl"
    of_run = {(item.id, item.answer.strip()) for item in items}
    others = [row for row in _there(root / file) if (row.id, row.answer.strip()) not in of_run]
    labels = {(row.id, row.model, row.answer.strip()): row for row in others}
    for item in items:
        if item.key in grades:
            score = round(fmean(grades[item.key]), 3)
            for model in item.models:
                row = LabelRow(id=item.id, model=model, answer=item.answer, score=score)
                labels[item.id, model, item.answer.strip()] = row
    rows = [row for row in labels.values() if row.score is not None]
    if len(rows) < LEAST:
        what = f"{len(rows)} of the {LEAST} human labels that judge.calibration takes"
        raise DataError(what, "grade more answers, then collect again")
    if of_folder:
        # Checked before anything is written, with the digest of no file yet.
        _with_calibration(root, file, "0" * 64)
    in_order: list[LabelRow] = sorted(labels.values(), key=lambda row: (row.id, row.model, row.answer))
    write_records(root / file, in_order)
    digest = sha256(root / file)
    if of_folder:
        _name(root, file, digest)
    counts = {model: sum(row.model == model for row in rows) for model in ("base", "tuned")}
    return Collected(file, digest, of_folder, {model: count for model, count in counts.items() if count})


def _name(root: Path, file: Path, digest: str) -> None:
    """Name the file of human labels in params.yaml, which is not written if it says so already."""
    text = profiles.to_text(_with_calibration(root, file, digest))
    if (root / paths.PARAMS).read_text(encoding="utf-8") != text:
        with atomic_file(root / paths.PARAMS) as stream:
            stream.write(text)


def _there(file: Path) -> list[LabelRow]:
    return list(read_records(file, LabelRow, made_by=f"correct or remove {file}")) if file.exists() else []


def _with_calibration(root: Path, file: Path, digest: str) -> object:
    """The tree of params.yaml, with its comments, and with a file of human labels in it."""
    return profiles.overlaid(
        root, profiles.CURRENT, {"judge.calibration.source": file.as_posix(), "judge.calibration.sha256": digest}
    )
