"""What is wrong with an answer, as far as that can be seen without a judge, and the points that it costs.

An answer can have several faults. "wrong but fluent" is the rest: a wrong answer, or one with a low score by a judge
that does not say which are wrong, without a visible fault. A right answer is never too long or too short. A misspelling
differs from a known word by one letter, or by two exchanged ones. Words that are further from all known words are not
counted, since rare and foreign words are as far.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from string import ascii_lowercase

from stages.common.errors import DataError
from stages.common.files import read_json
from stages.common.metrics.judge import FaultCount, FaultExample
from stages.common.records import StopReason
from stages.common.results.judge import Verdict
from stages.common.results.split import Example
from stages.judge.judges.protocol import Question
from stages.judge.judges.transport import excerpt
from stages.judge.scores.figures import POINTS
from stages.tokenize.leaks import TEMPLATE, leaks_template

WRONG_BUT_FLUENT = "wrong but fluent"
#: Faults that a right answer does not have.
OF_LENGTH = ("too long", "too short")
#: Where the judge does not say which answers are right: one with a lower score is wrong, one from this score on right.
WRONG, RIGHT = 50.0, 80.0
#: Longer than the reference by this factor and so many characters is too long; the reverse is too short.
FACTOR, MARGIN = 2.0, 12
#: A word 3-gram so often, or a piece of text so often in a row, is repetition.
REPEATED_GRAMS, REPEATED_RUNS = 3, 4
#: Misspellings are looked for in words of at least so many letters: shorter ones are often abbreviations.
SHORTEST = 4
#: Answers shown for each fault.
EXAMPLES = 3

_RUN = re.compile(rf"(.{{2,24}}?)\1{{{REPEATED_RUNS - 1},}}", re.DOTALL)
#: Words in small letters alone: names have no fixed spelling.
_WORD = re.compile(rf"(?<![\w'’-])[a-z]{{{SHORTEST},}}(?![\w'’-])")


def words_of_tokenizer(folder: Path) -> set[str]:
    """The whole words of small letters in GPT-2's vocabulary: entries that stand for a space and letters.

    Args:
        folder: folder of the BPE files. Tokens are the keys of encoder.json or vocab.json; Ġ stands for a space.

    Raises:
        DataError: neither file is there.
    """
    path = next((folder / name for name in ("vocab.json", "encoder.json") if (folder / name).exists()), None)
    if path is None:
        raise DataError(f"{folder}: no vocab.json", "dvc repro --force download")
    tokens = read_json(path, made_by="dvc repro --force download")
    return {token[1:] for token in tokens if token.startswith("Ġ") and _WORD.fullmatch(token[1:])}


def words_of_rows(rows: Iterable[Example]) -> set[str]:
    """The words of instructions and outputs. Inputs are left out: a row may want their misspellings corrected."""
    return {word for row in rows for text in (row.instruction, row.output) for word in _WORD.findall(text)}


def faults(question: Question, stop: StopReason, words: set[str]) -> list[str]:
    """The names of an answer's visible faults, in a fixed order; an answer equal to its reference has none.

    Args:
        question: the answer with its row.
        stop: why the model stopped.
        words: known words. Those of the row itself are known as well.
    """
    if question.is_exact:
        return []
    if not question.answer.strip():
        return ["empty"]
    known = words | set(_WORD.findall(f"{question.instruction} {question.reference}".lower()))
    prose = TEMPLATE.sub(" ", question.answer)
    found: dict[str, Callable[[], bool]] = {
        "cut off": lambda: stop != "end_of_text",
        "template leak": lambda: leaks_template(question.answer, question.reference),
        "echo": lambda: _echoes(question),
        "repetitive": lambda: _repeats(question.answer) and not _repeats(question.reference),
        "too long": lambda: _longer(question.answer, question.reference),
        "too short": lambda: _longer(question.reference, question.answer),
        "misspelling": lambda: any(_is_misspelt(word, known) for word in _WORD.findall(prose)),
    }
    return [name for name, holds in found.items() if holds()]


def with_rightness(verdict: Verdict) -> Verdict:
    """Join the visible faults of an answer with its verdict.

    A right answer is neither too long nor too short; a wrong one without a visible fault is wrong but fluent.
    """
    found = [name for name in verdict.faults if not (_is_right(verdict) and name in OF_LENGTH)]
    if not found and _is_wrong(verdict):
        found = [WRONG_BUT_FLUENT]
    return verdict.model_copy(update={"faults": found})


def _is_right(verdict: Verdict) -> bool:
    if verdict.right is not None or verdict.score is None:
        return verdict.right is True
    return verdict.exact or verdict.score >= RIGHT


def _is_wrong(verdict: Verdict) -> bool:
    if verdict.right is not None or verdict.score is None:
        return verdict.right is False
    return not verdict.exact and verdict.score < WRONG


def points_lost(verdicts: Sequence[Verdict], answers: Mapping[str, str]) -> dict[str, FaultCount]:
    """What each fault costs one model, by fault, the largest loss of points first.

    Args:
        verdicts: the model's verdicts, marked with their faults.
        answers: the model's answers, by id.
    """
    scored = [(verdict.score, verdict) for verdict in verdicts if verdict.score is not None]
    members: dict[str, list[tuple[float, Verdict]]] = {}
    for score, verdict in scored:
        for name in verdict.faults:
            members.setdefault(name, []).append((score, verdict))
    counts = {name: _count(found, len(scored), answers) for name, found in members.items()}
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1].points_lost, entry[0])))


def _count(found: Sequence[tuple[float, Verdict]], scored: int, answers: Mapping[str, str]) -> FaultCount:
    """The answers with one fault, of so many scored ones."""
    lowest = sorted(found, key=lambda one: (one[0], one[1].id))[:EXAMPLES]
    return FaultCount(
        n=len(found),
        mean=round(sum(score for score, _ in found) / len(found), POINTS),
        points_lost=round(sum(100 - score for score, _ in found) / scored, POINTS),
        examples=[FaultExample(id=v.id, score=score, answer=excerpt(answers.get(v.id, ""))) for score, v in lowest],
    )


def _is_misspelt(word: str, known: set[str]) -> bool:
    """Whether a word is unknown and one edit away from a known one."""
    return word not in known and any(other in known for other in _edits(word))


def _edits(word: str) -> Iterator[str]:
    """A word of small letters with one letter removed, two exchanged, one replaced or one inserted."""
    for position in range(len(word) + 1):
        before, after = word[:position], word[position:]
        if after:
            yield before + after[1:]
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]
        for letter in ascii_lowercase:
            yield before + letter + after[1:]
            yield before + letter + after


def _echoes(question: Question) -> bool:
    """Whether the answer is the instruction, the input, or both; or begins with the whole instruction."""
    answer, instruction, given = map(_plain, (question.answer, question.instruction, question.input))
    copies = {instruction, given, f"{instruction} {given}".strip()} - {""}
    return answer in copies or (len(instruction) > MARGIN and answer.startswith(instruction))


def _repeats(text: str) -> bool:
    """Whether a text repeats words or a piece of itself. Of one sign alone it must be a letter."""
    words = text.split()
    grams = Counter(zip(words, words[1:], words[2:], strict=False))
    return max(grams.values(), default=0) >= REPEATED_GRAMS or any(
        found[1].isalpha() or (not found[1].isspace() and len(set(found[1])) > 1) for found in _RUN.finditer(text)
    )


def _longer(text: str, other: str) -> bool:
    longer, shorter = len(text.strip()), len(other.strip())
    return longer > FACTOR * shorter and longer - shorter > MARGIN


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
