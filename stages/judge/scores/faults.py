"""What is wrong with an answer, as far as that can be seen without a judge, joined to what the judge gave it.

An answer can have several faults. "wrong but fluent" is what remains: a low score and nothing to be seen. Misspellings
are those of one letter, or of two exchanged: what is further from all known words, be it a misspelling by two letters
or no word at all, is not called one, since rare and foreign words are as far.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from stages.common.errors import DataError
from stages.common.files import read_json
from stages.common.records import StopReason
from stages.common.results.judge import Verdict
from stages.common.results.split import Example
from stages.judge.judges.protocol import Question
from stages.judge.judges.transport import excerpt
from stages.tokenize.leaks import TEMPLATE, leaks_template

WRONG_BUT_FLUENT = "wrong but fluent"
#: A score below this is of a wrong answer.
WRONG = 50.0
#: Longer than the reference by this factor and so many characters is too long; the reverse is too short.
FACTOR, MARGIN = 2.0, 12
#: A word 3-gram so often, or a piece of text so often in a row, is repetition.
REPEATED_GRAMS, REPEATED_RUNS = 3, 4
#: Misspellings are looked for in words of at least so many letters: shorter ones are often abbreviations. They are
#: unknown words that one letter more, less or another, or two exchanged, makes known ones. Of the other unknown words
#: most are rare or of another language; so misspellings by two letters and words that are none are not seen.
SHORTEST = 4
#: Answers shown for each fault.
EXAMPLES = 3

_RUN = re.compile(rf"(.{{2,24}}?)\1{{{REPEATED_RUNS - 1},}}", re.DOTALL)
#: Words in small letters alone: a name is spelt as it likes.
_WORD = re.compile(rf"(?<![\w'’-])[a-z]{{{SHORTEST},}}(?![\w'’-])")


def words_of_tokenizer(folder: Path) -> set[str]:
    """The whole words of small letters in GPT-2's vocabulary: entries that stand for a space and letters.

    Args:
        folder: with the BPE files; tokens are the keys of encoder.json or vocab.json, a space is written Ġ.
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
    """The names of an answer's faults that can be seen, in a fixed order; none in one that equals its reference.

    Args:
        question: the answer with its row.
        stop: why the model stopped.
        words: what counts as spelt rightly, besides the words of the row itself.
    """
    if question.is_exact:
        return []
    if not question.answer.strip():
        return ["empty"]
    known = words | set(_WORD.findall(f"{question.instruction} {question.reference}".lower()))
    prose = TEMPLATE.sub(" ", question.answer)
    found: dict[str, Callable[[], bool]] = {
        "cut off": lambda: stop != "end_of_text",
        "template leak": lambda: leaks_template(question.answer),
        "echo": lambda: _echoes(question),
        "repetitive": lambda: _repeats(question.answer) and not _repeats(question.reference),
        "too long": lambda: _longer(question.answer, question.reference),
        "too short": lambda: _longer(question.reference, question.answer),
        "misspelling": lambda: any(_is_misspelt(word, known) for word in _WORD.findall(prose)),
    }
    return [name for name, holds in found.items() if holds()]


def with_fluent(verdict: Verdict) -> Verdict:
    """A verdict whose answer is wrong with no fault to be seen, marked as such; any other as it is."""
    if verdict.faults or verdict.exact or verdict.score is None or verdict.score >= WRONG:
        return verdict
    return verdict.model_copy(update={"faults": [WRONG_BUT_FLUENT]})


def points_lost(verdicts: Sequence[Verdict], answers: dict[str, str]) -> dict[str, Any]:
    """What each fault costs one model.

    Args:
        verdicts: with their faults.
        answers: the model's answers by id.

    Returns:
        JSON by fault, the dearest first: ``n``; ``mean``, the mean score of these answers; ``points_lost``, what the
        model's mean would gain if all of them scored 100 (answers with several faults count in each); ``examples``,
        those with the lowest scores.
    """
    scored = [verdict for verdict in verdicts if verdict.score is not None]
    members: dict[str, list[Verdict]] = {}
    for verdict in scored:
        for name in verdict.faults:
            members.setdefault(name, []).append(verdict)
    table: dict[str, dict[str, Any]] = {
        name: {
            "n": len(found),
            "mean": round(sum(_score(verdict) for verdict in found) / len(found), 3),
            "points_lost": round(sum(100 - _score(verdict) for verdict in found) / len(scored), 3),
            "examples": [
                {"id": verdict.id, "score": verdict.score, "answer": excerpt(answers.get(verdict.id, ""))}
                for verdict in sorted(found, key=lambda verdict: (_score(verdict), verdict.id))[:EXAMPLES]
            ],
        }
        for name, found in members.items()
    }
    return dict(sorted(table.items(), key=lambda entry: (-entry[1]["points_lost"], entry[0])))


def _score(verdict: Verdict) -> float:
    return verdict.score or 0.0


def _is_misspelt(word: str, known: set[str]) -> bool:
    """Whether a word is unknown and one edit away from a known one."""
    return word not in known and any(other in known for other in _edits(word))


def _edits(word: str) -> Iterator[str]:
    """All that a word of small letters becomes by one letter less, two exchanged, one another or one more."""
    for place in range(len(word) + 1):
        before, after = word[:place], word[place:]
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
    words = text.split()
    grams = Counter(zip(words, words[1:], words[2:], strict=False))
    return max(grams.values(), default=0) >= REPEATED_GRAMS or any(
        not found[1].isspace() and len(set(found[1])) > 1 for found in _RUN.finditer(text)
    )


def _longer(text: str, other: str) -> bool:
    longer, shorter = len(text.strip()), len(other.strip())
    return longer > FACTOR * shorter and longer - shorter > MARGIN


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
