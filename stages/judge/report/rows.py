"""The test rows with both models' answers and what the judge said of them, joined by the id of the row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from stages.common.records import ModelName, StopReason
from stages.common.results.generate import Response
from stages.common.results.judge import Verdict, VerdictStatus
from stages.common.results.split import Example


@dataclass(frozen=True)
class Answer:
    """A model's answer to a row.

    Attributes:
        text: the answer.
        stop: why it ended.
        status: what became of its judging; None where it was not judged.
        score: its score from 0 to 100; None where it has none.
        right: whether it is right; None where the judge does not say so.
        faults: what can be seen to be wrong with it.
        detail: what the judge bases its score on, or why there is none.
        cluster: what its row is drawn with in a bootstrap.
    """

    text: str
    stop: StopReason
    status: VerdictStatus | None = None
    score: float | None = None
    right: bool | None = None
    faults: Sequence[str] = ()
    detail: str = ""
    cluster: str = ""

    @property
    def verdict(self) -> str:
        """What the judge said of it in a word: right or wrong, or why it says neither; empty where a score is all."""
        if self.right is not None:
            return "right" if self.right else "wrong"
        return "" if self.status == "scored" else self.status or "not judged"


@dataclass(frozen=True)
class Row:
    """A test row with the answers to it.

    Attributes:
        number: its place among the test rows, from 0.
        id: its id.
        category: its category.
        prompt: instruction and input, as a person reads them.
        reference: the right answer.
        answers: the answers by model.
    """

    number: int
    id: str
    category: str
    prompt: str
    reference: str
    answers: Mapping[ModelName, Answer] = field(default_factory=dict)

    @property
    def badness(self) -> tuple[int, float, int]:
        """A key that sorts rows, the worst answer of the fine-tuned model first; one without a verdict stands last."""
        answer = self.answers.get("tuned")
        if answer is None or answer.score is None:
            return 2, 0.0, self.number
        return int(answer.right is True), answer.score, self.number


def join(rows: Iterable[Example], responses: Iterable[Response], verdicts: Iterable[Verdict]) -> list[Row]:
    """The rows in their order, with what there is on each; a row without an answer is left out."""
    said: dict[tuple[str, str], Verdict] = {(one.id, one.model): one for one in verdicts}
    answers: dict[str, dict[ModelName, Answer]] = {}
    for one in responses:
        answers.setdefault(one.id, {})[one.model] = _answer(one, said.get((one.id, one.model)))
    return [
        Row(number, row.id, row.category, _prompt(row), row.output, answers[row.id])
        for number, row in enumerate(rows)
        if row.id in answers
    ]


def _answer(response: Response, verdict: Verdict | None) -> Answer:
    if verdict is None:
        return Answer(response.text, response.stop_reason)
    return Answer(
        response.text,
        response.stop_reason,
        verdict.status,
        verdict.score,
        verdict.right,
        tuple(verdict.faults),
        verdict.detail,
        verdict.cluster or verdict.id,
    )


def _prompt(row: Example) -> str:
    return f"{row.instruction}\n{row.input}" if row.input else row.instruction


def worst(rows: Sequence[Row], most: int) -> list[Row]:
    """The rows whose answers are worst, of as many categories as there are: the worst of each, the worst first.

    Only then come the second ones of the categories. Right answers, and rows without a score, are left out.
    """
    found = [row for row in _scored(rows) if row.answers["tuned"].right is not True]
    return _in_turn(sorted(found, key=lambda row: row.badness), most)


def best(rows: Sequence[Row], most: int) -> list[Row]:
    """The same of the best answers, of which none is wrong. Of equal ones those come first that were worst before."""

    def key(row: Row) -> tuple[float, ...]:
        goodness, score, number = row.badness
        before = row.answers["base"].score if "base" in row.answers else None
        return -goodness, -score, before or 0.0, number

    found = [row for row in _scored(rows) if row.answers["tuned"].right is not False]
    return _in_turn(sorted(found, key=key), most)


def _scored(rows: Iterable[Row]) -> Iterator[Row]:
    return (row for row in rows if row.badness[0] < 2)


def _in_turn(ranked: Iterable[Row], most: int) -> list[Row]:
    """The first of each category, then the second ones, and so on, each time in the order given."""
    turns: dict[int, list[Row]] = {}
    seen: dict[str, int] = {}
    for row in ranked:
        turn = seen.get(row.category, 0)
        seen[row.category] = turn + 1
        turns.setdefault(turn, []).append(row)
    return [row for turn in sorted(turns) for row in turns[turn]][:most]
