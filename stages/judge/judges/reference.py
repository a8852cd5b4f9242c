"""The built-in judge: whether an answer is right by its reference, by rules that are deterministic and need no model.

An answer is right if the key words of its reference are there and nothing contradicts them (`stages.judge.judges.
rightness`); which words these are is learnt from the train rows (`stages.judge.judges.kinds`). Rows with many right
answers, such as a simile, are not for this judge: no answer to them gets a score, so that all models are judged on the
same rows. It knows words and not their meaning: a right answer in words that share nothing with the reference's is
wrong to it.
"""

from __future__ import annotations

import hashlib
import io
import tokenize
from ast import AsyncFunctionDef, ClassDef, Constant, Expr, FunctionDef, Module, parse, walk
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from stages.common import texts
from stages.common.results.split import Example
from stages.judge.judges import (
    beside,
    candidates,
    denials,
    equivalents,
    findings,
    key_words,
    kinds,
    open_rows,
    quantities,
    rightness,
    rows,
    sentences,
    subjects,
    wording,
)
from stages.judge.judges.kinds import Corpus
from stages.judge.judges.protocol import Judgement, Question
from stages.judge.judges.rightness import assess
from stages.judge.judges.rows import read_row
from stages.running.costs import JudgingCosts

#: Version of the measure, for people. `MEASURE_CODE` tells two measures apart, and nobody can forget to raise it.
MEASURE_VERSION = "8"


def code_digest(modules: Iterable[Path]) -> str:
    """12 hexadecimal digits of what modules do: of their text without comments, docstrings and blank lines."""
    found = hashlib.sha256()
    for module in modules:
        text = module.read_text(encoding="utf-8")
        left_out = _lines_of_docstrings(text)
        lines = text.splitlines()
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                lines[token.start[0] - 1] = lines[token.start[0] - 1][: token.start[1]]
        kept = [line.rstrip() for number, line in enumerate(lines, start=1) if number not in left_out and line.strip()]
        found.update("\n".join([module.name, *filter(None, kept)]).encode())
    return found.hexdigest()[:12]


def _lines_of_docstrings(text: str) -> set[int]:
    lines: set[int] = set()
    for node in walk(parse(text)):
        if isinstance(node, Module | ClassDef | FunctionDef | AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, Expr) and isinstance(first.value, Constant) and isinstance(first.value.value, str):
                lines.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


#: The modules that decide on an answer.
_RESTS_ON = (
    texts,
    wording,
    quantities,
    kinds,
    rows,
    findings,
    sentences,
    equivalents,
    denials,
    candidates,
    beside,
    subjects,
    key_words,
    open_rows,
    rightness,
)
#: The digest of all code that decides on an answer: a changed rule, weight or word list is another judge.
MEASURE_CODE = code_digest([Path(__file__), *(Path(str(one.__file__)) for one in _RESTS_ON)])


class ReferenceJudge:
    """100 for the reference itself, 0 for an empty answer, otherwise what `stages.judge.judges.rightness` finds.

    Args:
        corpus: the train rows; without any, all words are equally rare and no kind of row is known.
    """

    cacheable: ClassVar[bool] = False  # computing a score is as quick as reading it
    deterministic: ClassVar[bool] = True

    def __init__(self, corpus: Corpus | None = None) -> None:
        self._corpus = corpus or Corpus([])

    @classmethod
    def of_rows(cls, rows: Iterable[Example]) -> ReferenceJudge:
        """The judge that knows these train rows."""
        return cls(Corpus(rows))

    def identity(self) -> dict[str, str]:
        """The measure, its version and code, the train rows that it weighs words by, and the library that it uses."""
        return {
            "backend": "reference",
            "measure": "right if the key words of the reference are there and nothing contradicts them",
            "measure_version": MEASURE_VERSION,
            "measure_code": MEASURE_CODE,
            "train_rows": self._corpus.digest,
            "rapidfuzz": version("rapidfuzz"),
        }

    def key(self, question: Question, repeat: int = 0) -> str:  # noqa: ARG002 each repeat gives the same
        """The row and the answer count."""
        texts = (question.instruction, question.input, question.reference.strip(), question.answer.strip())
        return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()

    def judge(self, question: Question, repeat: int = 0) -> Judgement:  # noqa: ARG002
        """Compare one answer with its reference."""
        row = read_row(question.instruction, question.input, question.reference, self._corpus)
        found = assess(question.answer, row)
        if found.score is None:
            return Judgement("open", None, found.why)
        return Judgement("scored", found.score, found.why, right=found.right)

    def comparing(self) -> ReferencePairJudge:
        """As in `stages.judge.judges.protocol.JudgeBackend`."""
        return ReferencePairJudge(self._corpus)

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
    """A right answer is better than a wrong one, whichever is shown first; all else is a tie.

    So two right ones are equal, of which one is longer, and two wrong ones, of which one has more of the key words.
    There is no verdict on an open row, of whose answers it cannot say whether they are right.
    """

    def identity(self) -> dict[str, str]:
        """That of the scores, and how they are compared."""
        return {**super().identity(), "comparison": "right before wrong, else a tie; none of open rows"}

    def key(self, question: Question, repeat: int = 0) -> str:
        """Only the two answers and the reference count."""
        keys = [super(ReferencePairJudge, self).key(one, repeat) for one in _apart(question)]
        return hashlib.sha256("".join(keys).encode()).hexdigest()

    def judge(self, question: Question, repeat: int = 0) -> Judgement:
        """Compare whether the two answers are right."""
        both = [super(ReferencePairJudge, self).judge(one, repeat) for one in _apart(question)]
        if open_ones := [one for one in both if one.score is None]:
            return Judgement("open", None, open_ones[0].detail)
        first, second = (one.right for one in both)
        score = 100.0 * bool(first) if first != second else 50.0
        return Judgement("scored", score, f"{_SAID[first]} and {_SAID[second]}")


#: An answer in the details of a comparison.
_SAID = {True: "right", False: "wrong", None: "neither"}


def _apart(question: Question) -> tuple[Question, Question]:
    """The questions about each of a pair's two answers alone."""
    return replace(question, other=None), replace(question, answer=question.other or "", other=None)
