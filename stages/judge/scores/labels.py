"""Human labels of test answers: scores by people or a stronger judge, from the file that judge.calibration names.

A label belongs to the text that was labelled, not to its row: another training gives every row another answer, of which
the old label says nothing. So each line of the file holds the answer; labels of other answers are counted and left out.

A sample of answers was drawn at random from all answers of one training. Those of its labels that still fit after
another training are no random sample: a text that does not change is mostly one that is equal to its reference. So a
model with a label of another answer has no mean from labels at all.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.common.errors import ConfigError, DataError
from stages.common.labels import LEAST, LabelRow
from stages.common.paths import local_path
from stages.common.plurals import counted, word
from stages.common.records import read_records
from stages.judge.judges.protocol import Question
from stages.params.judge import Calibration

KEY = "judge.calibration"


@dataclass(frozen=True)
class HumanLabels:
    """The human labels of this run's answers.

    Attributes:
        scores: labels by id and model.
        sha256: SHA-256 of the file.
        rows: labels in the file.
        stale: number of labels of test rows to which a model now gives another answer, by model; absent for 0.
    """

    scores: Mapping[tuple[str, str], float]
    sha256: str
    rows: int
    stale: Mapping[str, int]

    def why_not(self, model: str, scored: int) -> str | None:
        """Why labels give no mean of a model; None where they do.

        Args:
            model: the model.
            scored: number of its labelled answers that have a score.
        """
        if stale := self.stale.get(model, 0):
            every = stale + sum(labelled == model for _, labelled in self.scores)
            is_of = word(stale, "is of another answer", "are of other answers")
            return f"{stale} of {counted(every, 'label')} {is_of}: grade again: python -m flows.grade ."
        return f"{scored} of the {LEAST} human labels a model that a mean takes" if scored < LEAST else None


def read(settings: Calibration) -> list[LabelRow]:
    """The rows of the file that have a label.

    Raises:
        ConfigError: the file is not there.
        DataError: it is not the one whose SHA-256 params.yaml names, a line is not a row, or two rows label the same
            answer.
    """
    path = local_path(settings.source)
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{KEY}.source: {settings.source}: {error.strerror}", "correct params.yaml") from None
    if found != settings.sha256:
        raise DataError(
            f"{KEY}.sha256: {settings.source} has {found}, params.yaml says {settings.sha256}",
            f"set {KEY}.sha256 to {found} if the file is the one you mean",
        )
    fix = f"correct {settings.source}: each line needs id, answer (the text that was labelled) and score"
    rows = [row for row in read_records(Path(path), LabelRow, made_by=fix) if row.score is not None]
    counts = Counter((row.id, row.model, row.answer.strip()) for row in rows)
    if twice := sorted(key for key, count in counts.items() if count > 1):
        raise DataError(
            f"{settings.source}: more than one score for one answer to {twice[0][0]} ({twice[0][1]})",
            "keep one of them",
        )
    return rows


def of_these_answers(rows: Sequence[LabelRow], questions: Sequence[Question], settings: Calibration) -> HumanLabels:
    """The labels whose text is that of an answer that is judged in this run; there may be none."""
    answers = {(question.id, question.model): question.answer.strip() for question in questions}
    known = [row for row in rows if (row.id, row.model) in answers]
    fresh = [row for row in known if row.answer.strip() == answers[row.id, row.model]]
    stale = Counter[str](row.model for row in known if row.answer.strip() != answers[row.id, row.model])
    scores: dict[tuple[str, str], float] = {(row.id, row.model): row.score for row in fresh if row.score is not None}
    return HumanLabels(scores, settings.sha256, len(rows), dict(stale))
