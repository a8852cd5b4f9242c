"""Answers whose key words decide: those of the reference that the prompt does not give away."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from stages.judge.judges.beside import other_forms, other_names, other_units
from stages.judge.judges.candidates import candidates
from stages.judge.judges.denials import denied, denied_words
from stages.judge.judges.equivalents import EXPLANATION as EXPLAINED
from stages.judge.judges.equivalents import in_its_words, labels_as_in
from stages.judge.judges.findings import Finding, right, some, wrong
from stages.judge.judges.kinds import tells
from stages.judge.judges.quantities import bounded, quantities
from stages.judge.judges.rows import TRUTHS, Row, is_form_of, without_articles
from stages.judge.judges.subjects import other_form, other_subject
from stages.judge.judges.wording import ARTICLES, NEGATIONS, is_number, loose

#: What is left of the share that an answer has where a key word is contradicted.
CONTRADICTED = 0.4
#: Up to so many key words all must be there, of more this share of their weight, and all numbers.
FEW_KEYS, MANY_KEYS_SHARE = 3, 0.85
#: The part of the share that all key words have; the rest is for those that decide, without an explanation.
EXPLANATION = 0.3
#: So many numbers are in an order, and the share of an answer that has them in another.
SEVERAL_NUMBERS, ANOTHER_ORDER = 3, 0.5
#: Words that have less than this share of a reference's greatest weight add to the share and do not decide.
COMMON_KEY = 0.6
#: The least weight of a key word, however common it is, and that of a word which the reference picks from the prompt.
LEAST_WEIGHT, PICKED_WEIGHT = 0.1, 0.5
#: Superfluous words that cost nothing, the points of each further one, and the most points that they cost.
FREE_WORDS, WORD_POINTS, MOST_POINTS = 3, 2.0, 15.0

_COPULAS = frozenset({"is", "are", "was", "were"})
#: Where an answer's statements about several things are divided.
_STATEMENTS = re.compile(r"\n|;|\. |,? and (?=(?:\w+ ){1,3}(?:is|are) )|, (?=(?:\w+ ){1,3}(?:is|are) )")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")
#: A clause that says what else was at another time.
_FURTHER = re.compile(r",\s+(?:after|before|during|following|having|while)\b[^.;!?]*", re.IGNORECASE)
_BRACKETED = re.compile(r"\([^()]*\)")
_SAYS = re.compile(r"\b(?:is|are)\b|:|\s-\s")


def by_key_words(answer: str, words: Sequence[str], row: Row) -> Finding:
    """Judge an answer by the key words that it has, and by what contradicts them.

    Args:
        answer: the answer.
        words: its words, loosely.
        row: the row.
    """
    keys = key_weights(row)
    core = deciding(keys, row)
    words = in_its_words(answer, words, row, core)
    held = {key: weight for key, weight in keys.items() if key in words}
    in_core = sum(held.get(key, 0.0) for key in core) / sum(keys[key] for key in core)
    against = contradictions(answer, words, core, row)
    missing = [key for key in core if key not in held]
    said = f"key words: {some(core)}" + (f"; missing: {some(missing)}" if missing else "")
    said += f"; against: {some(against)}" if against else ""
    numbers = not any(is_number(key) for key in missing)
    if numbers and in_core >= (MANY_KEYS_SHARE if len(core) > FEW_KEYS else 1 - 1e-9) and not against:
        if not _in_order(answer, core, row):
            return wrong(f"{said}; in another order", ANOTHER_ORDER)
        return right(said, 100.0 - _verbosity(words, row))
    share = (1 - EXPLANATION) * in_core + EXPLANATION * sum(held.values()) / sum(keys.values())
    return wrong(said, share * (CONTRADICTED if against else 1.0))


def key_weights(row: Row) -> dict[str, float]:
    """The key words of a reference with their weights, in its order; at least one."""
    own, picked = {*row.fresh, *row.labels}, set(row.picked)
    if not own and not picked:
        own = {word for word in row.words if tells(word) and word not in row.form}
        own = own - row.prompt.words or own
    if not own and not picked:
        own = {word for word in row.words if word not in ARTICLES} or set(row.words)
    rarity = row.corpus.rarity
    keys = [word for word in row.words if word in own | picked]
    return {word: max(rarity(word), LEAST_WEIGHT) if word in own else PICKED_WEIGHT for word in keys} or {"": 1.0}


def deciding(keys: Mapping[str, float], row: Row) -> list[str]:
    """The key words that an answer must have: of a choice that which is chosen, else the rare words; and all numbers.

    The words of an explanation or in brackets do not decide, nor those that are forms of the question's: "ended" for
    "did it end".
    """
    explanation = EXPLAINED.search(row.reference)
    plain = _BRACKETED.sub(" ", row.reference[: explanation.start()] if explanation else row.reference)
    said = {row.truth} if row.truth else set(loose(plain))
    core = [key for key in keys if key in said] or list(keys)
    numbers = [] if row.truth else [key for key in core if is_number(key) and key not in row.prompt.words]
    found = _deciding(core, keys, row)
    return [key for key in core if key in found or key in numbers]


def _deciding(core: Sequence[str], keys: Mapping[str, float], row: Row) -> list[str]:
    """Those of the key words that decide, but for numbers; arguments as in `deciding`."""
    chosen = {*row.labels, *row.picked}
    if any(key in chosen for key in core):
        beside = {word for two in pairwise(row.words) if chosen & {*two} for word in two}
        return [key for key in core if key in chosen | beside]
    core = _on_the_other_side(core, row)
    bar = COMMON_KEY * max(keys[key] for key in core)
    firm = [key for key in core if keys[key] >= bar or is_number(key) or key in NEGATIONS]
    asked = row.prompt.asked - {*row.prompt.given, *row.prompt.named}
    return [key for key in firm if not any(is_form_of(key, word) for word in asked)] or firm


def _on_the_other_side(core: Sequence[str], row: Row) -> list[str]:
    """Of "The author of 'Emma' is Jane Austen" the words of the side that does not name what is asked about."""
    words, known = row.words, {word for word in (*row.prompt.given, *row.prompt.named) if tells(word)}
    for place in (at for at, word in enumerate(words) if word in _COPULAS):
        sides = [set(words[:place]), set(words[place + 1 :])]
        if bool(sides[0] & known) != bool(sides[1] & known):
            other = sides[1] if sides[0] & known else sides[0]
            return [key for key in core if key in other] or list(core)
    return list(core)


# --- what contradicts ---


def contradictions(answer: str, words: Sequence[str], core: Sequence[str], row: Row) -> list[str]:
    """What an answer says against the key words, each as a word or two of it."""
    foreign = {*words} - {*row.words} - denied_words(answer, row)
    found = [
        *sorted(foreign & row.choices),
        *(TRUTHS[key] for key in core if TRUTHS.get(key) in foreign),
        *_other_answers(foreign, core, row),
        *_or_another(words, core, row),
        *candidates(answer, words, core, row),
        *denied(answer, core, row),
        *bounded(words, core, row.prompt.words | {*row.words}),
        *other_names(answer, words, core, row),
        *other_forms(words, core, row),
        *_other_units(words, core, row),
        *other_units(words, core, row),
        *other_subject(loose(_SENTENCE_END.split(answer)[0] if row.truth else answer), row),
        *other_form(loose(answer), core, row),
    ]
    if row.prompt.listed and row.picked:
        found += sorted(word for word in foreign & set(row.prompt.given) if tells(word))
    found += _other_numbers(answer, foreign, words, core, row)
    return list(dict.fromkeys(found))


def _other_numbers(answer: str, foreign: set[str], words: Sequence[str], core: Sequence[str], row: Row) -> list[str]:
    """Numbers that neither the prompt nor the reference has, where the reference has one that the prompt has not.

    A further clause may have some of its own behind all key words: "in 1945, after starting in 1939". Where the number
    is not among the key words, as in an explanation, an answer with the reference's own may have others too.
    """
    theirs = {word for word in row.words if is_number(word)} - row.prompt.words
    keys = {key for key in core if is_number(key)}
    if not keys and (not theirs or theirs & {*words}):
        return []
    plain = _FURTHER.sub("", answer)
    if {*core} <= {*in_its_words(plain, loose(plain), row, core)}:
        foreign = foreign & set(in_its_words(plain, loose(plain), row, core))
    return sorted(word for word in foreign - row.prompt.words if is_number(word))


def _other_answers(foreign: set[str], core: Sequence[str], row: Row) -> list[str]:
    """The answers to other rows of the kind: another capital, another label."""
    if row.kind.is_open or len(core) > FEW_KEYS:
        return []
    unknown = foreign - {*row.prompt.given, *row.prompt.named}
    others = [other - set(row.words) for other in row.kind.answers]
    return sorted(word for other in others if other and other <= unknown for word in other)


def _or_another(words: Sequence[str], core: Sequence[str], row: Row) -> list[str]:
    """What an answer names beside a key word with "or", unless the reference or the question does."""
    if "or" in row.words or "or" in row.prompt.asked:
        return []
    said = without_articles(words)
    triples = zip(said, said[1:], said[2:], strict=False)
    return [f"{one} or {two}" for one, middle, two in triples if middle == "or" and (one in core) != (two in core)]


def _other_units(words: Sequence[str], core: Sequence[str], row: Row) -> list[str]:
    """Units behind key numbers where the reference has another unit."""
    ours, theirs = _units(words), _units(row.words)
    return [f"{key} {ours[key]}" for key in core if key in theirs and key in ours and theirs[key] != ours[key]]


def _units(words: Sequence[str]) -> dict[str, str]:
    """The unit behind each number that has one."""
    return {one.number: one.unit for one in quantities(words)}


# --- order and length ---


def _in_order(answer: str, core: Sequence[str], row: Row) -> bool:
    """Whether an answer has the key words in the reference's order, where that puts things in order or in groups.

    These are references with several numbers, and those with lines that each have a key word: "Fish: trout" in a line
    and "Birds: owl" in the next. The order of such lines does not count, nor that of the words within.
    """
    lines = [set(loose(line)) for line in row.reference.splitlines() if set(loose(line)) & set(core)]
    if len(lines) > 1:
        known = {word for word in row.words if tells(word)} - set[str]().union(*lines).intersection(*lines)
        if max(len(line & known) for line in lines) > 1:
            ours = [set(labels_as_in(loose(one), row)) & known for one in _statements(answer)]
            groups = [line & known for line in lines]
            return all(group in ours for group in groups) or _one_by_one(ours, groups)
    wanted = [word for word in row.words if is_number(word) and word in core]
    words = iter(loose(answer))
    return len(wanted) < SEVERAL_NUMBERS or all(number in words for number in wanted)


def _one_by_one(ours: Sequence[set[str]], wanted: Sequence[set[str]]) -> bool:
    """Whether statements about one thing each, but for an introduction, together say what the lines say."""
    of_lines = [[one for one in ours if one <= line] for line in wanted]
    fit = all(any(one <= line for line in wanted) for one in ours[1:])
    return fit and all(set[str]().union(*parts) == line for parts, line in zip(of_lines, wanted, strict=True))


def _statements(answer: str) -> list[str]:
    """What an answer says of several things, each by itself: "A shark is a fish", and not "Sharks", of "and trout"."""
    parts: list[str] = []
    for part in _STATEMENTS.split(answer):
        if parts and not _SAYS.search(parts[-1]):
            parts[-1] += f", {part}"
        else:
            parts.append(part)
    return parts


def _verbosity(words: Sequence[str], row: Row) -> float:
    """Points for telling words that neither the reference nor the prompt has."""
    more = {word for word in words if tells(word) and word not in row.words and word not in row.prompt.words}
    return min(MOST_POINTS, WORD_POINTS * max(0, len(more) - FREE_WORDS))
