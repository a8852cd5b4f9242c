"""The file of human labels that judge.calibration names: one line for each labelled answer.

`python -m flows.grade` writes it, and the stage judge reads it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stages.common.records import ModelName, Record

#: The fewest labelled answers, of a file and of a model, from which a mean is made.
LEAST = 10
#: The fewest labels of a model from which an interval is made. Of a model most of whose grades are 0, 20 labels often
#: hold none of the rare high ones: the interval then held the truth in 82 to 91 % of simulated cases (docs/judge.md).
LEAST_FOR_INTERVAL = 30


class LabelRow(Record):
    """A row of the file: the score that a person or a stronger judge gives an answer, from 0 to 100.

    ``answer`` is the text that was labelled; white space around it does not count. A line without a score has not been
    labelled yet, and is skipped.
    """

    id: str
    model: ModelName = "tuned"
    answer: str
    score: Annotated[float, Field(ge=0, le=100)] | None
