"""Contractions written out, so that "what's" and "what is" are the same words, but where a row is about them."""

from __future__ import annotations

import re

from stages.common.results.split import Example

#: What people type for an apostrophe: quotation marks, accents, primes and modifier letters.
_APOSTROPHES = re.compile("[’‘‛ʼʹ′´`＇]")
#: After these words 's stands for "is"; after others it can be a possessive, as in "the man's".
_IS_AFTER = "what|who|where|when|why|how|that|there|here|it|he|she"
#: Contractions without their apostrophe that are no other word, as "its", "were" and "cant" are.
_BARE = "do|does|did|is|are|was|were|has|have|had|could|would|should"
#: What each contraction stands for. "'s" may be "has" and "'d" may be "had": one form serves for comparing.
_LONG_FORMS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), long)
    for pattern, long in (
        (r"\b(can)(?:'t|not)\b", r"\1 not"),
        (r"\bwon't\b", "will not"),
        (r"\bshan't\b", "shall not"),
        (rf"\b({_BARE}|might|must|need)n't\b", r"\1 not"),
        (rf"\b({_BARE})nt\b", r"\1 not"),
        (rf"\b({_IS_AFTER})'s\b", r"\1 is"),
        (r"\b(what|where|that)s\b", r"\1 is"),
        (r"\b(let)'s\b", r"\1 us"),
        (r"\b(i)'m\b", r"\1 am"),
        (r"\b(you|they)re\b", r"\1 are"),
        (r"\b(you|we|they|who|what|there|where|how)'re\b", r"\1 are"),
        (r"\b(i|you|we|they|who|could|would|should|might|must)'ve\b", r"\1 have"),
        (r"\b(i|you|he|she|it|we|they|who|what|that|there)'ll\b", r"\1 will"),
        (r"\b(i|you|he|she|it|we|they|who|what|that|there)'d\b", r"\1 would"),
    )
)
#: A text without this has no contraction: most texts are not looked at further.
_MAY_HAVE_ONE = re.compile(r"'|cannot|nt\b|\b(?:what|where|that)s\b|\b(?:you|they)re\b", re.IGNORECASE)
#: An instruction about contractions, or about the style that they belong to.
_ABOUT_THEM = re.compile(
    r"contract(?:ion|ed)\b|apostroph|formal|casual|colloquial|conversational|short(?:ened)? form|"
    r"(?:full|long) (?:form|word)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[\w']+")


def straight(text: str) -> str:
    """A text whose apostrophes are all the one of ASCII.

    >>> straight("don’t, don´t")
    "don't, don't"
    """
    return text if text.isascii() and "`" not in text else _APOSTROPHES.sub("'", text)


def written_out(text: str) -> str:
    """A text with its contractions written out.

    >>> written_out("What's the man's name? I can’t say, and won't.")
    "What is the man's name? I can not say, and will not."
    """
    text = straight(text)
    if _MAY_HAVE_ONE.search(text) is None:
        return text
    for pattern, long in _LONG_FORMS:
        text = pattern.sub(lambda found, long=long: _in_its_case(found, long), text)  # type: ignore[misc]
    return text


def _in_its_case(found: re.Match[str], long: str) -> str:
    """What a contraction stands for, in capitals where the contraction is: capitals tell acronyms from words."""
    return found.expand(long.upper() if found.group().isupper() else long)


def is_about_contractions(row: Example) -> bool:
    """Whether a contraction is not the same as its long form in a row.

    It is not if the instruction names contractions or a formal style; if the prompt has both forms of one, as in
    "Write don't as do not"; or if the answer is a part of the prompt but for contractions, as in "Rewrite: I can't go."
    """
    if _ABOUT_THEM.search(row.instruction) is not None:
        return True
    prompt = straight(f"{row.instruction}\n{row.input}")
    in_both_forms = _plain(written_out(row.output)) in _plain(written_out(prompt))
    return _has_both_forms(prompt) or (in_both_forms and _plain(straight(row.output)) not in _plain(prompt))


def _has_both_forms(prompt: str) -> bool:
    """Whether a contraction in a prompt also stands there in its long form."""
    plain = _plain(prompt)
    return any(
        _plain(found.expand(long)) in plain for pattern, long in _LONG_FORMS for found in pattern.finditer(prompt)
    )


def _plain(text: str) -> str:
    """The words of a text, each with a space on either side, in small letters."""
    return f" {' '.join(word for part in _WORD.findall(text.casefold()) if (word := part.strip(chr(39))))} "
