"""Answers that are none: what generators and people who build datasets leave to fill in, and what chatbots say of
themselves.

Nothing is looked for in the code of an answer. A part of an answer that its prompt holds too is none of these: an
answer to a prompt with "[Your Name]" may keep that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stages.common.results.split import Example
from stages.split.checks.code import prose

#: What a letter or a form leaves to fill in. "[your country]" in small letters is an editor's.
_NOUN = (
    r"(?:name|title|number|company|organi[sz]ation|position|address|e-?mail|phone|website|signature|product|brand|"
    r"topic|answer|response|text)"
)
_ONE = r"(?:recipient|sender|customer|client|manager|employer|company|first|last|full|product|brand|school|phone)"
_GERMAN = r"(?:vorname|nachname|name|titel|unternehmen|firma|firmenname|adresse|anschrift|stadt|telefonnummer|e-mail)"
#: Between square brackets, in small letters. "[the Senate]" and "[your hand]" are an editor's words, and "[name]" is a
#: list, a column or a reference.
_IN_BRACKETS = (
    rf"(?:insert|enter|add|put|type) (?:your|here)\b[^\n\[\]]{{0,40}}|insert (?!key\b)[^\n\[\]]{{1,40}}"
    rf"|fill in [^\n\[\]]{{1,40}}|(?:your|my) (?:[a-z]{{1,20}} ){{0,2}}{_NOUN}\b[^\n\[\]]{{0,30}}"
    rf"|{_ONE}(?:'s)? (?:name|title|number|address)|(?:ihr|dein)e?n? (?:[a-zäöüß]{{1,20}} )?{_GERMAN}"
    rf"|[^\n\[\]]{{1,40}} (?:hier )?einfügen|(?:su|tu) nombre|votre nom"
)
_MODEL = r"(?:ai|artificial intelligence|(?:large )?language model)(?: language)?(?: model| assistant| chatbot)?"
#: An answer to fill in by a program, where it is the whole text.
_WHOLE = re.compile(
    r"(?:TODO|TBD|TBA|FIXME):?[.!…]*"
    r"|(?i:\{\{? ?(?:[\w-]+\.)?(?:answer|response|completion|placeholder|your[ _]\w+) ?\}\}?"
    r"|[<\[](?:answer|response|completion|placeholder)[>\]])"
)
_LONGEST_WHOLE = 60
#: Patterns in small letters, each with texts of which one is in every match: looking for these first is fast. What is
#: told of a match is its group, where the pattern has one.
_SMALL = [
    # No index of a list, as in rows[your name], and no link of Markdown, as in [your name](address).
    (["["], rf"(?<![\w\])])\[(?:{_IN_BRACKETS})\](?![(\[])"),
    # <your-image> is an argument of a command, and <address> is HTML.
    (["<"], rf"<(?:your (?:[a-z]{{1,20}} )?{_NOUN}|(?:insert|enter|add) your [^\n<>]{{1,40}}|no ?(?:in|out)put)>"),
    (["{your"], rf"(?<![\w$\{{}}\]])\{{your (?:[a-z]{{1,20}} )?{_NOUN}\}}(?!\}})"),
    (["lorem"], r"\blorem ipsum(?= dolor|\W{0,9}\Z)"),
    # These are lines of their own: "Sign your name here" and "It allows content to be added" are sentences.
    (
        ["here"],
        r"^[^\w\n]{0,9}((?:(?:insert|enter|type|write|add) )?your (?:answer|response|text|name) here)[^\w\n]{0,9}$",
    ),
    (
        ["goes here"],
        r"^[^\w\n]{0,9}((?:(?:your|the) )?(?:answer|response|text|content|message) goes here)[^\w\n]{0,9}$",
    ),
    (
        ["to be "],
        r"^[^\w\n]{0,9}((?:answer|response|output|text|content) to be (?:added|written|determined|filled in))"
        r"[^\w\n]{0,9}$",
    ),
    # What chatbots say of themselves. "Siri works as an AI assistant" is of another one: "I" or "my" must follow.
    (
        ["as an ai", "as an artificial", "language model"],
        rf"(?:^|[.!?,;:\"'(*]\s?|\b(?:but|and|that|because|since) )(as an? {_MODEL})\b"
        r"(?=[^.!?\n]{0,120}?\b(?:i|my|me)\b)",
    ),
    (
        ["i am ", "i'm "],
        rf"\b((?:i am|i'm) (?:just |only )?an? {_MODEL})(?=[,.;!\n]|\Z| and\b| trained| developed| created| designed)",
    ),
    (["my knowledge", "my training"], r"\bmy (?:knowledge cut-?off|training data (?:only )?(?:goes|extends|ends))"),
    # The words of buttons on chatbots' pages, in answers that were copied from there.
    (["regenerate", "conversation helpful"], r"^\s?regenerate response\s?$|\bis this conversation helpful so far\b"),
]
#: Patterns in the letters of the text: in small ones these are words of everyday language.
_CAPITALS = [
    # "TODO ESTÁ BIEN" is Spanish, and "The venue is TBA." is an answer.
    (["TODO:", "TBD:", "TBA:", "FIXME:"], r"^(TODO|TBD|TBA|FIXME):[ \t]*\S"),
    (
        [" HERE"],
        r"\b(?:(?:INSERT|ENTER|ADD|PUT|PASTE|TYPE)(?: [A-Z']+){0,3}|YOUR(?: [A-Z']+){0,2})"
        r" (?:ANSWER|RESPONSE|TEXT|NAME|CONTENT|MESSAGE)(?: [A-Z']+){0,2} HERE\b",
    ),
    # "[Your Majesty]" is an editor's word.
    (
        ["[Your ", "[YOUR "],
        r"(?<![\w\])])\[(?:Your|YOUR)(?! (?:Majesty|Highness|Honou?r|Grace|Excellency|Holiness)\b)"
        r"(?:,? [A-Z]\w{0,20}){1,4}\](?![(\[])",
    ),
]
_SEARCHES = [
    [(hints, re.compile(pattern, re.MULTILINE)) for hints, pattern in patterns] for patterns in (_SMALL, _CAPITALS)
]
#: Different texts of an answer that are looked for in its prompt: each takes time that grows with the prompt.
_MOST_ASKED = 100


def unfinished(row: Example) -> Iterator[str]:
    """What is left to fill in in the answer of a row, and what a chatbot says of itself there, each text once.

    Of an answer with more than 100 different such texts, the first 100 are compared with the prompt.
    """
    prompt = ""
    asked: set[str] = set()
    for text in _matches(row.output):
        small = text.lower()
        if small in asked:
            continue
        if len(asked) == _MOST_ASKED:
            return
        asked.add(small)
        prompt = prompt or _lowered(f"{row.instruction}\n{row.input}")
        if small not in prompt:
            yield text


def _matches(answer: str) -> Iterator[str]:
    stripped = answer.strip()
    if len(stripped) <= _LONGEST_WHOLE and _WHOLE.fullmatch(stripped):
        yield stripped
        return
    whole = (_lowered(answer), answer)
    if not any(
        _may_match(hints, text) for text, patterns in zip(whole, _SEARCHES, strict=True) for hints, _ in patterns
    ):
        return
    said = prose(answer)
    for text, patterns in zip((_lowered(said), said), _SEARCHES, strict=True):
        for hints, search in patterns:
            for found in search.finditer(text) if _may_match(hints, text) else ():
                yield found[search.groups]


def _may_match(hints: list[str], text: str) -> bool:
    return any(hint in text for hint in hints)


def _lowered(text: str) -> str:
    return text.lower().replace("’", "'")
