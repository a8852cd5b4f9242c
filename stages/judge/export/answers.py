"""What another program answers, and how that compares with the pipeline's answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from stages.common.records import Record, StopReason
from stages.common.results.generate import Response
from stages.judge.export.taken import Row
from stages.running.console import progress


@dataclass(frozen=True)
class Found:
    """Another program's answer to a row.

    Attributes:
        text: the answer, without white space around it.
        tokens: generated tokens, with the end-of-text; None where the program does not tell.
        ended: whether it stopped at an end-of-text.
        same_prompt: whether the program made the same prompt of the row's messages, as far as it can be seen.
    """

    text: str
    tokens: int | None
    ended: bool
    same_prompt: bool


class Answerer(Protocol):
    """A program that has loaded an exported model.

    Attributes:
        how: the program with its version, and what it is asked with.
    """

    how: str

    def answer(self, row: Row) -> Found:
        """Answer a row greedily.

        Raises:
            ServiceUnavailable: the program does not answer.
        """
        ...


class Difference(Record):
    """A row whose answer is another one than the pipeline's.

    Args:
        id: id of the row.
        expected: the pipeline's answer.
        found: the other program's.
        expected_tokens: its length in tokens, with the end-of-text.
        found_tokens: that of the other program's; null where it does not tell.
        prompt: whether the prompts are the same, as far as it can be seen.
    """

    id: str
    expected: str
    found: str
    expected_tokens: int
    found_tokens: int | None
    prompt: bool


def ask(answerer: Answerer, rows: Sequence[Row], what: str) -> list[Found]:
    """Have all rows answered, with a progress bar."""
    found = []
    with progress(total=len(rows), unit="row", what=what) as bar:
        for row in rows:
            found.append(answerer.answer(row))
            bar.update()
    return found


def differences(rows: Iterable[Row], found: Iterable[Found]) -> list[Difference]:
    """The rows whose text, number of tokens or way of ending is another, or whose prompt is."""
    return [
        Difference(
            id=row.id,
            expected=row.expected.text,
            found=one.text,
            expected_tokens=row.expected.tokens,
            found_tokens=one.tokens,
            prompt=one.same_prompt,
        )
        for row, one in zip(rows, found, strict=True)
        if not (one.same_prompt and _same(row.expected, one))
    ]


def _same(expected: Response, found: Found) -> bool:
    ended = expected.stop_reason == "end_of_text"
    return (expected.text, ended) == (found.text, found.ended) and found.tokens in (expected.tokens, None)


def as_responses(rows: Sequence[Row], found: Sequence[Found], responses: Iterable[Response]) -> list[Response]:
    """The pipeline's answers with the other program's in their place, for a judge."""
    by_id = {row.id: one for row, one in zip(rows, found, strict=True)}
    return [
        response if (one := by_id.get(response.id)) is None else response.model_copy(update=_fields(one))
        for response in responses
    ]


def _fields(found: Found) -> dict[str, object]:
    reason: StopReason = "end_of_text" if found.ended else "max_new_tokens"
    tokens = {} if found.tokens is None else {"tokens": found.tokens}
    return {"text": found.text, "stop_reason": reason, **tokens}
