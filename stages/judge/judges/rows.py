"""A row as the built-in judge reads it: which words of its reference can decide, and where they come from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from stages.judge.judges.kinds import Corpus, Kind, Prompt, read_prompt, tells
from stages.judge.judges.wording import ARTICLES, BREAK, clauses, is_number, loose

#: The opposite of an answer that is true, false, yes or no.
TRUTHS = {"true": "false", "false": "true", "yes": "no", "no": "yes"}

_TRUTH = re.compile(r"^(true|false|yes|no)\b\s*([.,:;]|$)", re.IGNORECASE)
#: In prompts that are no questions: "Say whether this is so", "Is it true".
_ASKS_FOR_TRUTH = frozenset({*TRUTHS, "whether", "if", "statement", "fact", "correct", "verify"})
#: A list behind a colon.
_INTRODUCED = re.compile(r"[^:\n]+:\s+(\S.*)$", re.DOTALL)


@dataclass(frozen=True)
class Row:
    """A row as the judge reads it: all words loosely, without articles where they are compared in order."""

    prompt: Prompt
    kind: Kind
    instruction: str
    given: str
    reference: str
    words: tuple[str, ...]
    corpus: Corpus = field(repr=False)

    @property
    def fresh(self) -> list[str]:
        """Telling words of the reference that neither the prompt nor the kind's form of speech has."""
        return [w for w in self.words if w not in self.prompt.words and w not in self.form and tells(w)]

    @cached_property
    def form(self) -> frozenset[str]:
        """Words of a mere form of speech, as far as they are not given."""
        return self.kind.form | (self.corpus.opening(self.words) - {*self.prompt.given, *self.prompt.named})

    @property
    def labels(self) -> list[str]:
        """Words of the reference that the instruction offers beside others, and true, false, yes or no."""
        chosen = self.choices | ({self.truth} if self.truth else set())
        return [w for w in self.words if w in chosen and w not in self.form]

    @cached_property
    def truth(self) -> str | None:
        """True, false, yes or no, where the reference begins with it and the prompt asks for it."""
        found = _TRUTH.match(self.reference.strip())
        asks = "?" in self.instruction + self.given or _ASKS_FOR_TRUTH & self.prompt.asked
        return found[1].casefold() if found and asks else None

    @cached_property
    def choices(self) -> frozenset[str]:
        """What the instruction offers: as it says itself ("odd or even"), and as other rows of the kind choose."""
        words = [w for w in clauses(self.instruction) if w not in ARTICLES]
        offered = set(self.kind.choices)
        for place in (at for at, word in enumerate(words) if word == "or" and 0 < at < len(words) - 1):
            before = place - 2 if words[place - 1] == BREAK and place > 1 else place - 1
            if {words[place + 1], words[before]} & {*self.prompt.given, *self.prompt.named}:
                continue  # what is given to choose from is `picked`
            offered |= {words[place + 1], words[before]}
            while before >= 2 and words[before - 1] == BREAK:
                before -= 2
                offered |= {words[before]}
        return frozenset(offered - {BREAK})

    @property
    def taken(self) -> list[str]:
        """Words that the reference takes from what is given, in its order, without articles."""
        given = {*self.prompt.given, *self.prompt.named} - ARTICLES
        return [w for w in self.words if w in given]

    @property
    def picked(self) -> list[str]:
        """Those of `taken` that are a choice: the reference leaves out other words of the list or the sentence."""
        given = set(self.prompt.given) - ARTICLES
        chosen = [w for w in self.taken if w in given and tells(w)]
        whole = given <= set(self.words)
        topic = set(self.prompt.named) if self.given.strip() else set()
        is_choice = not whole and (self.prompt.listed or not (self.fresh or self.labels))
        return [w for w in chosen if w not in topic and w not in self.kind.form] if is_choice else []


def read_row(instruction: str, given: str, reference: str, corpus: Corpus) -> Row:
    """Read a row."""
    prompt = read_prompt(instruction, given)
    words = tuple(loose(reference))
    if (introduced := _INTRODUCED.match(reference)) and prompt.listed:
        rest = tuple(loose(introduced[1]))
        words = rest if set(rest) <= set(prompt.given) else words
    return Row(prompt, corpus.kind(prompt), instruction, given, reference, words, corpus)


def is_copy(words: Sequence[str], row: Row) -> bool:
    """Whether an answer is the instruction, the input, or both, and the reference is not."""
    asked, given = loose(row.instruction), loose(row.given)
    copies = [part for part in (asked, given, [*asked, *given]) if part]
    if len(given) < 2 and not row.prompt.listed:  # a single word may be what is asked for
        copies = [part for part in copies if part != given or list(row.words) != given]
    return list(words) in copies and list(row.words) not in copies


def is_form_of(word: str, other: str) -> bool:
    """Whether two words are one, or may be forms of one: they share a beginning that is most of the longer."""
    if word == other:
        return True
    shared = next((n for n, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other)))
    return shared >= max(3, 0.6 * max(len(word), len(other))) and not is_number(word)


def without_articles(words: Sequence[str]) -> list[str]:
    """The words that are no articles."""
    return [w for w in words if w not in ARTICLES]


def contains(words: Sequence[str], part: Sequence[str]) -> bool:
    """Whether a part stands in a text, word behind word."""
    return any(list(words[start : start + len(part)]) == list(part) for start in range(len(words) - len(part) + 1))
