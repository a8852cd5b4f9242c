"""The built-in judge: likeness of an answer to its reference, by measures that are deterministic and need no model.

It measures likeness, not quality. A right answer in other words scores low ("Jane Austen." for "The author is Jane
Austen."), and a wrong one that differs in one word scores high (cumulus for cumulonimbus). It tells whether a
pipeline works and whether a model has learnt the form of the answers; it does not tell whether a model is good.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import ClassVar

from rapidfuzz.distance import Levenshtein

from stages.common.texts import chrf, token_f1
from stages.judge.judges.protocol import Judgement, Question
from stages.running.costs import JudgingCosts

#: Parts of the score of an answer that is not the reference. Equal, as none is the better judge and each misses what
#: another sees: chrF (character 1- to 6-grams, recall counts double) takes part-right words and no order beyond six
#: characters, token F1 the right words in any order and case, edit similarity order, case and punctuation.
CHRF_WEIGHT = TOKEN_F1_WEIGHT = EDIT_WEIGHT = 1 / 3

#: Version of the measure. Raise it with every change after which some answer gets another score, here or in
#: stages/common/texts.py: scores of two measures are not comparable, and `compare` tells them apart by the identity.
MEASURE_VERSION = "1"


@dataclass(frozen=True)
class Likeness:
    """Three measures of how like two texts are, each from 0 to 100."""

    chrf: float
    token_f1: float
    edit: float

    @property
    def mean(self) -> float:
        """The weighted mean, from 0 to 100."""
        return CHRF_WEIGHT * self.chrf + TOKEN_F1_WEIGHT * self.token_f1 + EDIT_WEIGHT * self.edit


def likeness(answer: str, reference: str) -> Likeness:
    """Compare an answer with its reference; edit similarity is 1 - Levenshtein distance / longer length."""
    return Likeness(
        chrf=chrf(answer, reference),
        token_f1=100 * token_f1(answer, reference),
        edit=100 * Levenshtein.normalized_similarity(answer, reference),
    )


class ReferenceJudge:
    """100 for the reference itself, 0 for an empty answer, otherwise the mean likeness."""

    cacheable: ClassVar[bool] = False  # computing a score is as quick as reading it
    deterministic: ClassVar[bool] = True

    def identity(self) -> dict[str, str]:
        """The measures, their version, and those of the libraries that compute them."""
        return {
            "backend": "reference",
            "measure": "100 if equal, else the mean of chrF, token F1 and edit similarity",
            "measure_version": MEASURE_VERSION,
            "sacrebleu": version("sacrebleu"),
            "rapidfuzz": version("rapidfuzz"),
        }

    def key(self, question: Question, repeat: int = 0) -> str:  # noqa: ARG002 each repeat gives the same
        """Only the answer and the reference count."""
        texts = (question.answer.strip(), question.reference.strip())
        return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()

    def judge(self, question: Question, repeat: int = 0) -> Judgement:  # noqa: ARG002
        """Compare one answer with its reference."""
        answer, reference = question.answer.strip(), question.reference.strip()
        if question.is_exact:
            return Judgement("scored", 100.0, "exact match")
        if not answer:
            return Judgement("scored", 0.0, "empty answer")
        found = likeness(answer, reference)
        detail = f"chrF {found.chrf:.1f}, token F1 {found.token_f1:.1f}, edit similarity {found.edit:.1f}"
        return Judgement("scored", round(found.mean, 2), detail)

    def comparing(self) -> ReferencePairJudge:
        """As in `stages.judge.judges.protocol.JudgeBackend`."""
        return ReferencePairJudge()

    def check(self) -> None:
        """It cannot change."""

    def ignored(self) -> str | None:
        """It has no options."""
        return None

    def costs(self) -> JudgingCosts | None:
        """Nothing worth counting."""
        return None

    def close(self) -> None:
        """Nothing to let go of."""


class ReferencePairJudge(ReferenceJudge):
    """The answer that `ReferenceJudge` gives the higher score is the better one, whichever is shown first."""

    def identity(self) -> dict[str, str]:
        """That of the scores, and how they are compared."""
        return {**super().identity(), "comparison": "the higher score"}

    def key(self, question: Question, repeat: int = 0) -> str:
        """Only the two answers and the reference count."""
        keys = [super(ReferencePairJudge, self).key(one, repeat) for one in _apart(question)]
        return hashlib.sha256("".join(keys).encode()).hexdigest()

    def judge(self, question: Question, repeat: int = 0) -> Judgement:
        """Compare the scores of the two answers."""
        first, second = (super(ReferencePairJudge, self).judge(one, repeat).score or 0.0 for one in _apart(question))
        score = 50.0 if first == second else 100.0 * (first > second)
        return Judgement("scored", score, f"first {first:g}, second {second:g}")


def _apart(question: Question) -> tuple[Question, Question]:
    """The questions about each of a pair's two answers alone."""
    return replace(question, other=None), replace(question, answer=question.other or "", other=None)
