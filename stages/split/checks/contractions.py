"""Contractions written out, so that "what's" and "what is" are the same words, but where a row is about them."""

from __future__ import annotations

import re

from stages.common.results.split import Example

#: What people type for an apostrophe: quotation marks, accents, primes and modifier letters.
_APOSTROPHES = re.compile("[’‘‛ʼʹ′´`＇]")
#: After these words 's stands for "is" or "has"; after others it can be a possessive, as in "the man's".
_IS_AFTER = "what|who|where|when|why|how|that|there|here|it|he|she"
#: Contractions without their apostrophe that are no other word, as "its", "were" and "cant" are.
_BARE = "do|does|did|is|are|was|were|has|have|had|could|would|should"
#: 's stands for "has" before a participle, of which these are the ones that "is" can be taken for, and those in -ed. A
#: word such as "already", and the subject of a question, can stand between.
_BETWEEN = r"(?:\s+(?:just|already|ever|never|always|not|also|only|since|still|yet|really|recently|finally))*"
_SUBJECT = r"(?:\s+(?:(?:the|a|an|my|your|his|her|its|our|their)\s+\w+|he|she|it|everyone|everybody|someone|somebody))?"
_PARTICIPLE = (
    r"\w{2,}ed|been|become|begun|bitten|blown|bought|broken|brought|built|burnt|caught|chosen|come|cost|cut|done|drawn|"
    r"driven|drunk|dug|eaten|fallen|felt|flown|forgotten|fought|found|frozen|given|gone|got|gotten|grown|had|heard|held|"
    r"hidden|hit|hurt|kept|known|laid|learnt|led|left|lent|lost|made|meant|met|paid|put|read|ridden|risen|run|rung|said|"
    r"seen|sent|set|shown|shut|slept|sold|spent|spoken|spread|stolen|stood|stuck|sung|sunk|swum|taken|taught|thought|"
    r"thrown|told|understood|woken|won|worn|written"
)
_NOT_HAS = rf"(?!{_SUBJECT}{_BETWEEN}\s+(?:{_PARTICIPLE})\b)"
#: 'd stands for "would" before these: they are no participles, which would make it "had".
_WOULD = (
    r"(?=(?:\s+(?:not|never|also|really))?\s+(?:be|have|like|love|prefer|want|need|say|go|do|know|think|take|give)\b)"
)
#: What each contraction stands for. "Let's" is not here: it suggests, and "let us" may ask for permission.
_LONG_FORMS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), long)
    for pattern, long in (
        (r"\b(can)(?:'t|not)\b", r"\1 not"),
        (r"\bwon't\b", "will not"),
        (r"\bshan't\b", "shall not"),
        (rf"\b({_BARE}|might|must|need)n't\b", r"\1 not"),
        (rf"\b({_BARE})nt\b", r"\1 not"),
        (rf"\b({_IS_AFTER})'s\b{_NOT_HAS}", r"\1 is"),
        (rf"\b(what|where|that)s\b{_NOT_HAS}", r"\1 is"),
        (r"\b(i)'m\b", r"\1 am"),
        (r"\b(you|they)re\b", r"\1 are"),
        (r"\b(you|we|they|who|what|there|where|how)'re\b", r"\1 are"),
        (r"\b(i|you|we|they|who|could|would|should|might|must)'ve\b", r"\1 have"),
        (r"\b(i|you|he|she|it|we|they|who|what|that|there)'ll\b", r"\1 will"),
        (rf"\b(i|you|he|she|it|we|they|who|what|that|there)'d\b{_WOULD}", r"\1 would"),
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
#: An instruction about the words, the signs, the grammar or the style of a text, in which a contraction is one word.
_ABOUT_WORDING = re.compile(
    r"\bcount\b|(?:how many|number of)(?: \w+)? (?:words?|syllables?|letters?|characters?|tokens?|signs?|bytes)\b|"
    r"tokeni[sz]|\bsplit\b|syllab|\blength\b|\blong (?:is|are)\b.{0,80}\b(?:string|sentence|text|word|phrase|line)s?\b|"
    r"(?:longest|shortest) (?:word|sentence)|\bstrings?\b|\blen\b|\bregex|\breverse|\bbackwards?\b|alphabet|"
    r"\bregister\b|\btone\b|\bstyle\b|\btenses?\b|\bpars(?:e|ing)\b|\bdialect|\bvariety\b|\busage\b|"
    r"\bbritish or american\b|\bamerican or british\b|\bsuggestion\b|\bpermission\b|"
    r"\b(?:auxiliary|pronouns?|verbs?|adverbs?|parts? of speech|predicate|lemma|morpheme|negat\w*)\b|"
    r"pronounc|pronunciation|phonetic|\brhym|\bmeter\b|\bmetre\b|\bscan\b|transcri|readab",
    re.IGNORECASE,
)
#: The word that opens an instruction asks, and is not what is asked about: "What's the length of ...?"
_OPENING = re.compile(r"\W*(?:what|who|where|when|why|how|that|there|here|it)'?(?:s|re)\b", re.IGNORECASE)
#: A text in quotation marks, and code: that in backticks, which `straight` makes apostrophes, and a call. No mark opens
#: another text, so that the search takes time by the length of the text.
_AS_IT_IS = re.compile(
    r"""\"[^"]*\"|“[^“”]*”|„[^„“”]*[“”]|«[^«»]*»|\b[A-Za-z_]\w*\([^()]*\)|"""
    r"""(?<![\w'])'{1,3}(?!')[^']*(?:(?<=\w)'(?=\w)[^']*)*'{1,3}(?![\w'])"""
)
_WORD = re.compile(r"[\w']+")


def straight(text: str) -> str:
    """A text whose apostrophes are all the one of ASCII.

    >>> straight("don’t, don´t")
    "don't, don't"
    """
    return text if text.isascii() and "`" not in text else _APOSTROPHES.sub("'", text)


def written_out(text: str) -> str:
    """A text with its contractions written out, but in quotation marks and code.

    >>> written_out("What's the man's name? I can’t say 'I won’t'.")
    "What is the man's name? I can not say 'I won't'."
    """
    text = straight(text)
    if _MAY_HAVE_ONE.search(text) is None:
        return text
    parts, end = [], 0
    for kept in _AS_IT_IS.finditer(text):
        parts += [_replaced(text[end : kept.start()]), kept.group()]
        end = kept.end()
    return "".join([*parts, _replaced(text[end:])])


def opening_written_out(text: str) -> str:
    """A text of which only the contraction that it opens with is written out.

    >>> opening_written_out("What's the tense of I don't know?")
    "What is the tense of I don't know?"
    """
    text = straight(text)
    opening = _OPENING.match(text)
    # Of the whole text, since what follows says whether it stands for "has".
    if opening is None or not _replaced(text).startswith(long := _replaced(opening.group())):
        return text
    return long + text[opening.end() :]


def _replaced(text: str) -> str:
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


def is_about_wording(instruction: str) -> bool:
    """Whether an instruction asks about the words, the grammar or the style of a text, where a contraction is another
    text than its long form.

    >>> is_about_wording("How many words are in the sentence?"), is_about_wording("How many people don't eat meat?")
    (True, False)
    """
    return _ABOUT_WORDING.search(instruction) is not None


def _has_both_forms(prompt: str) -> bool:
    """Whether a contraction in a prompt also stands there in its long form."""
    plain = _plain(prompt)
    return any(
        _plain(found.expand(long)) in plain for pattern, long in _LONG_FORMS for found in pattern.finditer(prompt)
    )


def _plain(text: str) -> str:
    """The words of a text, each with a space on either side, in small letters."""
    return f" {' '.join(word for part in _WORD.findall(text.casefold()) if (word := part.strip(chr(39))))} "
