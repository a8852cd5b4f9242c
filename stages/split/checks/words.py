"""The words of a text as duplicates are compared by: what does not matter is left out, what does is kept."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from stages.common.results.split import Example
from stages.split.checks.contractions import is_about_contractions, straight, written_out

#: A word with its apostrophes, hyphens, points and commas inside; or a sign that changes what is asked, such as that of
#: a factorial.
_WORD = re.compile(r"(?:(?<!\w)\.(?=\d))?\w+(?:[.,'-]\w+)*|[+*/=<>%^$€£°#@&−×÷-]|(?<=\d)!")
#: The longest word whose capitals matter: CO and Co, or US and us, are not the same.
_ACRONYM = 3
#: Words that can be left out of an English prompt, or put into it, without asking for something else.
_FILLERS = frozenset(
    ["a", "an", "the", "please", "kindly", "following", "given", "below", "this", "these", "that", "those"]
)
#: What is asked is about signs, capitals, spelling or articles themselves, so that no such difference may be left out.
_ABOUT_FORM = re.compile(
    r"capital letters?|capitali[sz]|in capitals|upper[ -]?case|lower[ -]?case|punctuat|comma\b|quotation|apostrophe|"
    r"\bmarks?\b|full stop|spell|misspel|typo\b|grammar|\barticles?\b|proofread|^correct|characters?\b|letters\b|"
    r"polite|courteous|rude\b",
    re.IGNORECASE,
)
#: A request that is put as a question, and thanks in a sentence of their own. After a colon or in quotation marks they
#: can be what the instruction is about.
_POLITE_BEGINNING = re.compile(
    r"^\W*(?:(?:hi|hello|please)\W+)*(?:can|could|would|will) you\b(?! rather)", re.IGNORECASE
)
_POLITE_END = re.compile(
    r"(?<=[.?!])\s*(?:many thanks|thanks|thank you)(?: (?:very|so) much| in advance)?\W*$", re.IGNORECASE
)
_QUOTES = re.compile(r"[:\"“”«»]")
#: What is left out around a word of an answer.
_PUNCTUATION = ".,;:!?\"'()[]“”‘’"
#: Words for numbers, and negations.
_MATTERS = re.compile(
    r"zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|hundred|thousand|[mb]illion|first|second|third|"
    r"half|not|no|never|none|nobody|nothing|without|n?either|nor|cannot|except|unless|\w+n't"
)


def words(text: str) -> list[str]:
    """The words of a text, without fillers such as "the" and "please", and without punctuation; case is kept.

    >>> words("Is the 3.5-inch disk cheaper than $4?")
    ['Is', '3.5-inch', 'disk', 'cheaper', 'than', '$', '4']
    """
    found = _WORD.findall(unicodedata.normalize("NFKC", straight(text)))
    return [word for word in found if word.casefold() not in _FILLERS]


def fold(found: Sequence[str]) -> tuple[str, ...]:
    """Words without regard to case, but for acronyms: "CO" is not "Co". Where all words are in capitals, none is one.

    >>> fold(["What", "is", "CO"]), fold(["WHAT", "IS", "CO"])
    (('what', 'is', 'CO'), ('what', 'is', 'co'))
    """
    plain = [word.casefold() for word in found]
    acronyms = [at for at, word in enumerate(found) if 1 < len(word) <= _ACRONYM and word.isupper()]
    if acronyms and any(word != word.upper() for word in found):
        for at in acronyms:
            plain[at] = found[at]
    return tuple(plain)


def answer_words(text: str) -> tuple[str, ...]:
    """The words of an answer, without regard to case and to punctuation around them.

    >>> answer_words("The answer is 3.5!") == answer_words("the answer is 3.5")
    True
    """
    return tuple(word for part in straight(text).casefold().split() if (word := part.strip(_PUNCTUATION)))


def prompt_text(row: Example) -> str:
    """What the model is asked in a row: instruction and input, with a line end between them."""
    return f"{row.instruction}\n{row.input}" if row.input else row.instruction


def words_asked(row: Example) -> list[str]:
    """The words of what is asked in a row, by which it is compared: without the politeness around an instruction, and
    with contractions written out unless the row is about them.
    """
    instruction = _POLITE_BEGINNING.sub("", row.instruction)
    if "hank" in instruction and not _QUOTES.search(instruction):
        instruction = _POLITE_END.sub("", instruction)
    text = straight(f"{instruction}\n{row.input}" if row.input else instruction)
    written = written_out(text)
    return words(text if written != text and is_about_contractions(row) else written)


def is_about_form(row: Example) -> bool:
    """Whether a row asks about signs, capitals or spelling, so that a difference in these matters."""
    return _ABOUT_FORM.search(row.instruction) is not None


def names(found: Sequence[str]) -> set[str]:
    """The words that are likely names, case folded: those with a capital, but for the first word of a text.

    Args:
        found: words as `words` gives them.
    """
    return {word.casefold() for word in found[1:] if word[0].isupper()}


def matters(word: str) -> bool:
    """Whether two prompts that differ in this word ask for different things, whatever it is: a number, a negation or a
    sign. The word is case folded.
    """
    return (
        any(character.isdigit() for character in word) or _MATTERS.fullmatch(word) is not None or not word[0].isalnum()
    )
