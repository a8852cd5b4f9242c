"""The contract of a judge: it gives one answer a score from 0 to 100, or says why it has none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from stages.common.errors import ServiceUnavailable
from stages.common.records import ModelName
from stages.common.results.judge import Verdict, VerdictStatus
from stages.common.texts import is_exact
from stages.running.costs import JudgingCosts


@dataclass(frozen=True)
class Question:
    """One answer to be judged, with all that a judge may know.

    Attributes:
        id: id of the test row.
        model: model that gave the answer.
        instruction: the row's instruction.
        input: the row's input, which may be empty.
        reference: the row's own answer.
        answer: the answer to be judged; of two answers that are compared, the one that is shown first.
        other: the answer that is shown second; None where one answer is judged.
    """

    id: str
    model: ModelName
    instruction: str
    input: str
    reference: str
    answer: str
    other: str | None = None

    @property
    def is_exact(self) -> bool:
        """Whether the answer is the reference, character for character; white space around either does not count."""
        return is_exact(self.answer, self.reference)

    @property
    def cluster(self) -> str:
        """12 hexadecimal digits that rows with the same instruction share."""
        return hashlib.sha256(self.instruction.strip().encode("utf-8", "surrogatepass")).hexdigest()[:12]


@dataclass(frozen=True)
class Judgement:
    """A judge's verdict on one answer, before it is known whose it is; the fields are those of `Verdict`.

    It holds nothing that differs from run to run, such as a time, a number of attempts or a host. ``passing``, which is
    not a field of `Verdict`, says that the same judge may judge in another way the next time.
    """

    status: VerdictStatus
    score: float | None
    detail: str
    spread: float | None = None
    passing: bool = False
    right: bool | None = None

    def verdict(self, question: Question) -> Verdict:
        """This judgement as the verdict on a question."""
        return Verdict(
            id=question.id,
            model=question.model,
            status=self.status,
            score=self.score,
            detail=self.detail,
            spread=self.spread,
            exact=question.is_exact,
            cluster=question.cluster,
            right=self.right,
        )


#: The key of params.yaml that bounds the time of one verdict.
DEADLINE = "judge.deadline_seconds"
#: A question that every working judge answers, whatever its verdict. It is about one answer and about two.
TRIAL = Question("trial", "tuned", "Say whether two is a number.", "", "Two is a number.", "It is.", other="It is not.")


class JudgeChanged(ServiceUnavailable):
    """The judge is not the one with which the judging began: the last scores may come from another."""


class JudgeBackend(Protocol):
    """A judge: what `judge.backend` of params.yaml names. `judge` is called from several threads at a time.

    Attributes:
        cacheable: whether asking costs more than reading a kept verdict, so that verdicts are kept.
        deterministic: whether it is a fixed measure. The same question always gets the same verdict, and an answer
            equal to its reference gets 100, so that there is nothing to repeat or to skip.
    """

    cacheable: ClassVar[bool]
    deterministic: ClassVar[bool]

    def identity(self) -> dict[str, str]:
        """Everything that tells this judge from another: scores of two judges are comparable only if it is equal."""
        ...

    def key(self, question: Question, repeat: int = 0) -> str:
        """A hash of all that the judgement depends on beside the judge itself: equal keys, one judgement."""
        ...

    def judge(self, question: Question, repeat: int = 0) -> Judgement:
        """Judge one answer. A fault that concerns this answer alone is a Judgement too.

        Args:
            question: the answer.
            repeat: number of the judgement among several of the same answer, from 0. Each has a seed of its own.

        Raises:
            ServiceUnavailable: no further answer can be judged either.
            ConfigError: the same, until what params.yaml names is there.
        """
        ...

    def check(self) -> None:
        """Make sure that this is still the judge that `identity` describes.

        Raises:
            JudgeChanged: it is not.
            ServiceUnavailable: that cannot be found out.
        """
        ...

    def comparing(self) -> JudgeBackend:
        """The same judge, asked which of a question's two answers is better.

        It gives the answer that is shown first 100 if that is the better one, 50 if neither is, and 0 if the other is.
        It has an identity of its own, and is closed together with this judge.

        Raises:
            ConfigError: its rubric cannot be read.
        """
        ...

    def ignored(self) -> str | None:
        """Which of its options the judge can be seen to ignore; None: none.

        Raises:
            ServiceUnavailable: that cannot be found out.
        """
        ...

    def costs(self) -> JudgingCosts | None:
        """What asking has cost so far, without ``verdicts``; None if nothing was asked, or asking costs nothing."""
        ...

    def close(self) -> None:
        """End at once what is under way in other threads, and let go of connections."""
        ...


def fingerprint(identity: Mapping[str, str]) -> str:
    """32 hexadecimal digits that two judges share only if their identities are equal."""
    text = json.dumps(dict(identity), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
