"""The words of a text as duplicates are compared by: what does not matter is left out, what does is kept."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from stages.common.results.split import Example
from stages.split.checks.contractions import (
    is_about_contractions,
    is_about_wording,
    opening_written_out,
    straight,
    written_out,
)

#: A word with its apostrophes, hyphens, points and commas inside; or a sign that changes what is asked, such as that of
#: a factorial.
_WORD = re.compile(r"(?:(?<!\w)\.(?=\d))?\w+(?:[.,'-]\w+)*|[+*/=<>%^$€£°#@&−×÷-]|(?<=\d)!")
#: The longest word whose capitals matter: CO and Co, or US and us, are not the same.
_ACRONYM = 3
#: Words that can be left out of an English prompt, or put into it, without asking for something else.
_FILLERS = frozenset(["a", "an", "the", "following", "given", "below", "this", "these", "that", "those"])
#: What is asked is about signs, capitals, spelling or articles themselves, so that no such difference may be left out.
_ABOUT_FORM = re.compile(
    r"capital letters?|capitali[sz]|in capitals|upper[ -]?case|lower[ -]?case|punctuat|comma\b|quotation|apostrophe|"
    r"\bmarks?\b|full stop|spell|misspel|typo\b|grammar|\barticles?\b|proofread|(?:^|please |kindly |you )correct\b|"
    r"characters?\b|letters\b|polite|courteous|rude\b",
    re.IGNORECASE,
)
#: What is asked is how a text speaks to a person, so that "please" is no filler.
_ABOUT_POLITENESS = re.compile(
    r"polite|courte|\brude|respectful|formal|\btone\b|\bregister\b|\bmanners\b|etiquette|\bcivil\b|diplomatic|"
    r"friendl|kinder|gentle",
    re.IGNORECASE,
)
#: An instruction without this has no politeness to leave out: most are not looked at further.
_MAY_BE_POLITE = re.compile(r"please|kindly|thank|(?:can|could|would|will) you", re.IGNORECASE)
#: Verbs of requests, which a model can carry out: a question with others, as "Can you swim?", is one about a person.
_REQUEST = (
    "(?:explain|list|name|describe|translate|rewrite|rephrase|paraphrase|reword|summari[sz]e|suggest|correct|classify|"
    "categori[sz]e|identify|compare|contrast|define|calculate|compute|generate|provide|elaborate|clarify|outline|proofread)"
)
#: Verbs of requests where they have one of these objects: "Can you make soap?" is a question about a person.
_WITH_OBJECT = "write|give|tell|show|find|make|create|convert|help|compose|draft|think of|come up with|turn|put|change"
_OBJECTS = (
    "(?:sentences?|lists?|examples?|words?|phrases?|paragraphs?|texts?|poems?|haikus?|stor(?:y|ies)|essays?|letters?|e-?mails?|"
    "summar(?:y|ies)|synonyms?|antonyms?|definitions?|explanations?|descriptions?|translations?|names?|reasons?|facts?|"
    "tips?|ideas?|titles?|questions?|tables?|functions?|programs?|scripts?|code)"
)
#: A request that is put as a question. It is none if it asks for what somebody would do, as in "Would you name your son
#: so?" and "Could you write a poem if you had to?".
_POLITE_BEGINNING = re.compile(
    r"^\W*(?:(?:hi|hello)\W+)?(?:(?:please|kindly)\W+)?(?:can|could|would|will) you\s+"
    rf"(?:(?:please|kindly)\s+|(?={_REQUEST}\b)|(?=(?:{_WITH_OBJECT}) (?:me|us|\d+|(?:[\w'-]+ ){{0,3}}{_OBJECTS})\b))"
    r"(?![^.?!:\n]*\b(?:your|yourself|if (?:you|I)|ever)\b)",
    re.IGNORECASE,
)
_PLEASE_BEGINNING = re.compile(r"^\W*(?:please|kindly)\b(?=\W+\w)", re.IGNORECASE)
#: The word "please" where it is no part of what is asked about: before a request, after a comma, or at the end.
_PLEASE = re.compile(
    rf"(?<=[.?!] )(?:please|kindly)(?= {_REQUEST}\b)|,\s*please\b|"
    r"(?<!\bsay)(?<!\bword)(?<!\bof)(?<!\bwith)(?<!\bwithout)(?<!\bfor)(?<!\bdoes)(?<!\buse)\splease(?=\W*$)",
    re.IGNORECASE,
)
#: Thanks in a sentence of their own. After a colon or in quotation marks they can be what the instruction is about.
_POLITE_END = re.compile(
    r"(?<=[.?!])\s*(?:many thanks|thanks|thank you)(?: (?:very|so) much| in advance)?\W*$", re.IGNORECASE
)
_QUOTES = re.compile(r"[:\"“”«»]")
_SINGLE_QUOTES = re.compile(r"(?<!\w)['‘`]")
#: What is left out around a word of an answer.
_PUNCTUATION = ".,;:!?\"'()[]“”‘’"
#: Words for numbers, negations, and verbs that say whether something can, will, may or must be; and
#: "please" where it is no filler.
_MATTERS = re.compile(
    r"zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|hundred|thousand|[mb]illion|first|second|third|"
    r"half|not|no|never|none|nobody|nothing|without|n?either|nor|cannot|except|unless|\w+n't|"
    r"can|could|will|would|shall|should|may|might|must|please|kindly"
)


def words(text: str) -> list[str]:
    """The words of a text, without fillers such as "the", and without punctuation; case is kept.

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
    instruction = _without_politeness(row)
    text = straight(f"{instruction}\n{row.input}" if row.input else instruction)
    written = written_out(text)
    if written != text:
        if is_about_contractions(row):
            written = text
        elif is_about_wording(row.instruction):
            written = opening_written_out(text)
    return words(written)


def _without_politeness(row: Example) -> str:
    """An instruction without "could you" and such, "please" and thanks, unless these can be what it is about."""
    asked = row.instruction
    if _MAY_BE_POLITE.search(asked) is None:
        return asked
    has_quotes = _QUOTES.search(asked) is not None
    if not row.input and not has_quotes and _ABOUT_POLITENESS.search(asked) is not None:
        return asked
    asked = _PLEASE_BEGINNING.sub("", _POLITE_BEGINNING.sub("", asked))
    if has_quotes:
        return asked
    asked = _POLITE_END.sub("", asked)
    return asked if _SINGLE_QUOTES.search(asked) else _PLEASE.sub("", asked)


def is_about_form(row: Example) -> bool:
    """Whether a row asks about signs, capitals or spelling, so that a difference in these matters."""
    return _ABOUT_FORM.search(row.instruction) is not None


def names(found: Sequence[str]) -> set[str]:
    """The words that are likely names, case folded: those with a capital, but for the first word of a text. Acronyms
    are found by `matters`, wherever they stand.

    Args:
        found: words as `words` gives them.
    """
    return {word.casefold() for word in found[1:] if word[0].isupper()}


def matters(word: str) -> bool:
    """Whether two prompts that differ in this word ask for different things, whatever it is: a number, a negation, a
    verb such as "can", an acronym, or a sign.

    Args:
        word: a word as `fold` gives it, which leaves the capitals of acronyms alone.

    >>> matters("UK"), matters("NOT"), matters("not"), matters("often")
    (True, True, True, False)
    """
    return (
        word != word.casefold()
        or any(character.isdigit() for character in word)
        or _MATTERS.fullmatch(word) is not None
        or not word[0].isalnum()
    )
