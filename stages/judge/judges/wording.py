"""The words of a text, as the built-in judge compares them.

Loosely, so that what means the same is the same: without regard to case, quotes and punctuation; numbers without
thousands separators and superfluous zeros, number words as digits, units under one name, dates as year, month and day,
contractions in full. Strictly, for rows that ask for a form: case, inner punctuation and the writing of a number count.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Three words that come so often are repetition.
REPEATED = 3
#: "beenbeenbeen"
_REPEATED_PART = re.compile(r"([^\W\d]{2,})\1\1")
#: Between two clauses; such a mark is no word, but a negation does not reach across it.
BREAK = "|"
NEGATIONS = frozenset({"not", "no", "never", "none", "neither", "nor", "nobody", "nothing"})
ARTICLES = frozenset({"a", "an", "the"})
_FUNCTION_WORDS = """
am is are was were be been being do does did has have had will would shall should can could may might must
of in on at by for from to with into over under about and or but if so as than then because since it its this that
these those there here he she they we you i him her them us me his hers their our your my who whom whose which what
when where why how very also too just only some any each both such per
equal equals equivalent approximately roughly exactly called named known answer result solution correct
"""
#: Words that any sentence may hold: they decide only where a row has nothing else to decide by.
FUNCTION_WORDS = ARTICLES | NEGATIONS | frozenset(_FUNCTION_WORDS.split())

_ONES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen
"""
_NUMBER_WORDS = {name: number for number, name in enumerate(_ONES.split())}
_TENS_BY_NAME = """twenty thirty forty fifty sixty seventy eighty ninety"""
_TENS = {name: 10 * number for number, name in enumerate(_TENS_BY_NAME.split(), start=2)}
_HUNDREDS, _HUNDRED = "hundred", 100
_SCALES = {"thousand": 1000, "million": 1_000_000}
#: Above each scale.
_INFINITE = 10**9
_MONTH_NAMES = """
january february march april may june july august september october november december
"""
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES.split(), start=1)}
#: Behind these, and behind a number, "may" is the month.
_BEFORE_MONTHS = frozenset({"of", "in", "by", "since", "until", "after", "before", "during", "from", "to"})
#: Before these it is the verb: "7 may be prime".
_BEHIND_VERBS = frozenset({"be", "have", "not", "also"})
#: Names of a unit, all of which count only behind a number, by the one that stands for them.
_UNITS = {
    "kilometre": "kilometre kilometres kilometer kilometers",
    "metre": "metre metres meter meters",
    "centimetre": "centimetre centimetres centimeter centimeters",
    "millimetre": "millimetre millimetres millimeter millimeters",
    "kilogram": "kilogram kilograms kilogramme kilogrammes",
    "gram": "gram grams gramme grammes",
    "tonne": "tonne tonnes",
    "litre": "litre litres liter liters",
    "millilitre": "millilitre millilitres milliliter milliliters",
    "hour": "hour hours",
    "minute": "minute minutes",
    "second": "seconds",
    "day": "day days",
    "week": "week weeks",
    "month": "month months",
    "year": "year years",
    "foot": "foot feet",
    "inch": "inch inches",
    "yard": "yard yards",
    "mile": "mile miles",
    "pound": "pound pounds",
    "ounce": "ounce ounces",
    "celsius": "celsius",
    "fahrenheit": "fahrenheit",
    "kelvin": "kelvin kelvins",
    "percent": "percent",
}
_SHORT_UNITS = {
    "km": "kilometre",
    "m": "metre",
    "cm": "centimetre",
    "mm": "millimetre",
    "kg": "kilogram",
    "g": "gram",
    "t": "tonne",
    "l": "litre",
    "ml": "millilitre",
    "h": "hour",
    "hr": "hour",
    "hrs": "hour",
    "min": "minute",
    "s": "second",
    "sec": "second",
    "ft": "foot",
    "yd": "yard",
    "mi": "mile",
    "lb": "pound",
    "lbs": "pound",
    "oz": "ounce",
    "c": "celsius",
    "f": "fahrenheit",
    "k": "kelvin",
    "%": "percent",
}
UNITS = {spelling: unit for unit, spellings in _UNITS.items() for spelling in spellings.split()}
UNITS_OF_DEGREES = {"c": "celsius", "f": "fahrenheit", "k": "kelvin"}
_NAMES_OF_UNITS = frozenset(_UNITS)

#: What may stand between a number and the unit of a temperature.
DEGREES = frozenset({"degree", "degrees"})
#: "One" is a number before a unit, but for "one day" and "one foot".
_COUNTED = frozenset(UNITS) - {"day", "foot"}

_CONTRACTED = (
    (re.compile(r"\bcan't\b", re.I), "can not"),
    (re.compile(r"\bcannot\b", re.I), "can not"),
    (re.compile(r"\bwon't\b", re.I), "will not"),
    (re.compile(r"\bshan't\b", re.I), "shall not"),
    (re.compile(r"\blet's\b", re.I), "let us"),
    (re.compile(r"n't\b", re.I), " not"),
    (re.compile(r"'m\b", re.I), " am"),
    (re.compile(r"'re\b", re.I), " are"),
    (re.compile(r"'ve\b", re.I), " have"),
    (re.compile(r"'ll\b", re.I), " will"),
    (re.compile(r"'s\b", re.I), ""),
)
#: In formulas of words: force = mass x acceleration.
_OPERATORS = (
    (re.compile(r"(?<=[a-z)])\s*[×⋅]\s*(?=[a-z(])", re.I), " times "),
    (re.compile(r"(=\s*[a-z]+) [x*] (?=[a-z]{2})", re.I), r"\1 times "),
    (re.compile(r"\bmultiplied by\b", re.I), "times"),
    (re.compile(r"(?<=[a-z)])\s*÷\s*(?=[a-z(])", re.I), " divided by "),
    (re.compile(r"(=\s*[a-z]+) / (?=[a-z]{2})", re.I), r"\1 divided by "),
    (re.compile(r"(=\s*[a-z]+) \+ (?=[a-z]{2})", re.I), r"\1 plus "),
)
_ALIKE = str.maketrans(
    {"’": "'", "‘": "'", "`": "'", "“": '"', "”": '"', "–": "-", "—": " - ", "−": "-", "…": "...", "\u00a0": " "}
)
_THOUSANDS = re.compile(r"(?<![\d,])\d{1,3}(?:,\d{3})+(?![\d,])")
_ISO = re.compile(r"\b(\d{4})-(\d\d)-(\d\d)\b")
_SLASHES = re.compile(r"\b(\d{1,2})/(\d{1,2})/(\d{4})\b")
_MONTH = "|".join(_MONTHS)
_DAY_MONTH = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({_MONTH}),? (\d{{4}})\b", re.I)
_MONTH_DAY = re.compile(rf"\b({_MONTH}) (\d{{1,2}})(?:st|nd|rd|th)?,? (\d{{4}})\b", re.I)
_DEGREES = re.compile(r"°\s*([CFK]\b)?", re.I)
_LISTED = re.compile(r"(?m)^\s*(?:\d{1,2}[.)]|[-*•])\s+(?=\S)")
#: M.B.A., J. K.
_DOTTED = re.compile(r"\b(?:[A-Z]\.\s?(?=[A-Z]\.))+[A-Z]\.|\b(?:[a-z]\.)+[a-z]\.")
_LOOSE = re.compile(
    r"(?P<date>\bdate:\d{4}-\d\d-\d\d)"
    r"|(?P<address>[\w.+-]+@[\w-]+(?:\.[\w-]+)+)"
    r"|(?P<number>(?:(?<![\w.)])-)?\d+(?:\.\d+)?(?![\w-]*@))"
    r"|(?P<word>[^\W\d_][^\W_]*(?:'[^\W_]+)*)"
    r"|(?P<percent>%)"
    r"|(?P<stop>[.,;:!?()\n])"
)
_STRICT = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|-?\d+(?:[-/:.,]\d+)*|[^\W\d_]+(?:['-][^\W\d_]+)*|[^\s\w]")


def loose(text: str) -> list[str]:
    """The words of a text, loosely; without the marks between clauses.

    "It's 3,000.0 m." -> ["it", "3000", "metre"]; "Twenty-four hours" -> ["24", "hour"].
    """
    return [word for word in clauses(text) if word != BREAK]


def clauses(text: str) -> list[str]:
    """As `loose`, with `BREAK` wherever a mark of punctuation stood."""
    plain = _LISTED.sub(" ", text.translate(_ALIKE))
    plain = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), _with_dates(plain))
    plain = _DEGREES.sub(lambda found: f" degrees {UNITS_OF_DEGREES.get((found[1] or '').casefold(), '')} ", plain)
    plain = _DOTTED.sub(lambda found: re.sub(r"[.\s]", "", found[0]) + " ", plain)
    for pattern, full in (*_OPERATORS, *_CONTRACTED):
        plain = pattern.sub(full, plain)
    words: list[str] = []
    for found in _LOOSE.finditer(plain):
        kind, piece = found.lastgroup, found[0].casefold()
        if kind == "stop":
            words.append(BREAK)
        elif kind == "number":
            words.append(_number(piece))
        else:
            words.append(piece)
    words = _with_may(_without_number_words(words))
    return [_unit(word, before) for before, word in zip(["", *words], words, strict=False)]


def strict(text: str) -> list[str]:
    """The words of a text as they are written, with punctuation; a full stop at the end and all quotes are left out.

    "Anna isn't in Rome." -> ["Anna", "isn't", "in", "Rome"]; "2021-03-04" -> ["2021-03-04"].
    """
    words = [word for word in _STRICT.findall(text.translate(_ALIKE)) if word not in ("'", '"')]
    return words[:-1] if words and words[-1] == "." else words


def repeats(words: Sequence[str]) -> bool:
    """Whether a loose word stands three times in a row, or three words come three times, or a word is made so.

    Numbers and single letters may stand three times in a row.
    """
    if any(_REPEATED_PART.search(word) for word in words):
        return True
    grams = list(zip(words, words[1:], words[2:], strict=False))
    return any(len(set(gram)) == 1 and not _may_repeat(gram[0]) for gram in grams) or any(
        grams.count(gram) >= REPEATED for gram in set(grams)
    )


def _may_repeat(word: str) -> bool:
    return len(word) == 1 or is_number(word)


_PLAIN_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def is_number(word: str) -> bool:
    """Whether a loose word is a number that `float` reads; a superscript such as "²" is none."""
    return _PLAIN_NUMBER.fullmatch(word) is not None


def is_unit(word: str) -> bool:
    """Whether a loose word is the name of a unit."""
    return word in _NAMES_OF_UNITS


def _with_dates(text: str) -> str:
    """The text with its dates as ``date:YYYY-MM-DD``; numbers in the order of day and month, as in the data."""

    def written(year: str, month: str | int, day: str) -> str:
        number = _MONTHS.get(str(month).casefold(), month)
        return f" date:{year}-{int(number):02d}-{int(day):02d}"

    text = _ISO.sub(lambda found: written(found[1], found[2], found[3]), text)
    text = _SLASHES.sub(lambda found: written(found[3], found[2], found[1]), text)
    text = _DAY_MONTH.sub(lambda found: written(found[3], found[2], found[1]), text)
    return _MONTH_DAY.sub(lambda found: written(found[3], found[1], found[2]), text)


def _with_may(words: list[str]) -> list[str]:
    """The words, in which May is ``month:may`` where it is a month, and no verb: "27 May", "in May", "It is May."."""
    found = []
    for before, word, behind in zip(["", *words], words, [*words[1:], ""], strict=False):
        dated = is_number(before) or is_number(behind) or before in _BEFORE_MONTHS
        is_all = before in ("", "is", BREAK) and behind in ("", BREAK)
        is_month = word == "may" and (dated or is_all) and behind not in _BEHIND_VERBS
        found.append("month:may" if is_month else word)
    return found


def _number(piece: str) -> str:
    """A number in its shortest form: "3.50" -> "3.5", "007" -> "7", "-0" -> "0"."""
    sign, digits = ("-", piece[1:]) if piece.startswith("-") else ("", piece)
    whole, _, rest = digits.partition(".")
    whole, rest = whole.lstrip("0") or "0", rest.rstrip("0")
    short = f"{whole}.{rest}" if rest else whole
    return short if short == "0" else sign + short


def _unit(piece: str, before: str) -> str:
    """The name of a unit behind a number; elsewhere "feet" is the plural of "foot", and not the same."""
    if not is_number(before) and before not in DEGREES:
        return piece
    return _SHORT_UNITS.get(piece) or UNITS.get(piece, piece)


def _without_number_words(words: list[str]) -> list[str]:
    """Number words as digits: twenty four -> 24, three hundred and six -> 306.

    A single "one" stays: it is mostly no number.
    """
    found: list[str] = []
    position = 0
    while position < len(words):
        value, length = _read_number(words, position)
        is_one = length == 1 and words[position] == "one" and not _COUNTED & {*words[position + 1 : position + 2]}
        if length == 0 or is_one:
            found.append(words[position])
            position += 1
        else:
            found.append(str(value))
            position += length
    return found


def _read_number(words: Sequence[str], start: int) -> tuple[int, int]:
    """The number that begins with a word, and of how many words it is made; 0 words where none begins.

    "And" joins what is less than a hundred: "two thousand and five" is 2005, and "two thousand and three hundred" is
    two numbers. Scales fall: "two thousand three thousand" is two numbers as well.
    """
    total, position, last = 0, start, _INFINITE
    while True:
        joined = position + (total > 0 and words[position : position + 1] == ["and"])
        part, length = _below_thousand(words, joined)
        behind = joined + length
        scale = _SCALES.get(words[behind], 1) if length and behind < len(words) else 1
        apart = scale >= last or (total > 0 and part == 0) or (joined > position and (part >= _HUNDRED or scale > 1))
        if not length or apart:
            return total, position - start
        total, last = total + part * scale, scale
        position = behind + (scale > 1)


def _below_thousand(words: Sequence[str], start: int) -> tuple[int, int]:
    """As `_read_number`, without thousands and millions: "three hundred and sixty six", "twelve hundred"."""
    value, length = _below_hundred(words, start)
    if not value or words[start + length : start + length + 1] != [_HUNDREDS]:
        return value, length
    value, length = value * _HUNDRED, length + 1
    joined = length + (words[start + length : start + length + 1] == ["and"])
    rest, more = _below_hundred(words, start + joined)
    if not rest or words[start + joined + more : start + joined + more + 1] == [_HUNDREDS]:
        return value, length
    return value + rest, joined + more


def _below_hundred(words: Sequence[str], start: int) -> tuple[int, int]:
    """As `_read_number`, of one or two words: "sixty", "sixty six", "six"."""
    first, second = [*words[start : start + 2], "", ""][:2]
    if first in _TENS:
        ones = _NUMBER_WORDS.get(second, 0)
        return (_TENS[first] + ones, 2) if 0 < ones < 10 else (_TENS[first], 1)
    return (_NUMBER_WORDS[first], 1) if first in _NUMBER_WORDS else (0, 0)
