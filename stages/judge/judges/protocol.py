"""What a judge is: something that gives one answer a score from 0 to 100, or says why it has none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from stages.common.errors import ServiceUnavailable
from stages.common.records import ModelName
from stages.common.results.judge import Verdict, VerdictStatus
from stages.common.texts import is_exact
from stages.params.judge import Judge as JudgeParams


@dataclass(frozen=True)
class Question:
    """One answer to be judged, with all that a judge may know. ``id`` and ``model`` say whose it is.

    ``other`` is there where two answers are compared: it is the one that is shown second.
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
    """A judge's word on one answer; the fields are those of `Verdict`. It holds no time, count of attempts or host."""

    status: VerdictStatus
    score: float | None
    detail: str
    spread: float | None = None

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
        )


#: The key of params.yaml that says how long one verdict may take.
DEADLINE = "judge.deadline_seconds"
#: A question that any judge that works answers: what it says does not matter. It is one about two answers too.
TRIAL = Question("trial", "tuned", "Say whether two is a number.", "", "Two is a number.", "It is.", other="It is not.")


class JudgeChanged(ServiceUnavailable):
    """The judge is no longer the one that it was when the judging began: the last scores may be another's."""


class Judge(Protocol):
    """What `stages.judge.panel` needs of a judge. ``judge`` is called from several threads at a time."""

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
            repeat: which of several judgements of it this is, from 0: each is sampled with a seed of its own.

        Raises:
            ServiceUnavailable: no further answer can be judged either.
            ConfigError: nor later, until what params.yaml names is there.
        """
        ...

    def check(self) -> None:
        """Make sure that this is still the judge that `identity` describes.

        Raises:
            JudgeChanged: it is not.
            ServiceUnavailable: that cannot be found out.
        """
        ...

    def comparing(self) -> Judge:
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

    def costs(self) -> dict[str, float]:
        """What asking has cost so far, as `judges.usage.Costs.entry` says; empty for a judge without costs."""
        ...

    def close(self) -> None:
        """End at once what is under way in other threads, and let go of connections."""
        ...


def fingerprint(identity: Mapping[str, str]) -> str:
    """32 hexadecimal digits that two judges share only if their identities are equal."""
    text = json.dumps(dict(identity), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def open_judge(params: JudgeParams) -> Judge:
    """The judge that params.yaml names, ready to judge: what it needs has been checked.

    Raises:
        ServiceUnavailable: its server does not answer.
        ConfigError: its model, its rubric or its server's address is wrong.
    """
    if params.backend == "reference":
        from stages.judge.judges.reference import ReferenceJudge

        return ReferenceJudge()
    if params.backend == "openai":
        from stages.judge.judges.openai import open_openai_judge

        return open_openai_judge(params)
    from stages.judge.judges.ollama import open_ollama_judge

    return open_ollama_judge(params)
