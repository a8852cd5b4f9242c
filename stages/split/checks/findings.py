"""The checks: each looks for rows that can mislead a training or its score, and gives a finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice

from stages.common.metrics.gate import Finding, Sample, Severity
from stages.common.plurals import counted
from stages.common.results.split import Example
from stages.params.split import Checks
from stages.split import few
from stages.split.checks.languages import SHORT, UNSURE
from stages.split.checks.offensive import offensive_words
from stages.split.checks.personal import KINDS, masked, scrubbed
from stages.split.checks.rows import Rows, text_of
from stages.split.checks.scripts import NO_LETTERS
from stages.split.checks.unfinished import unfinished
from stages.split.checks.words import prompt_text
from stages.split.digests import equal_in_order

#: Examples of a finding, and the longest text of one, in characters.
_EXAMPLES = 5
_TEXT = 300
#: Rows of a template that are told as siblings.
_SIBLINGS = 5


@dataclass(frozen=True)
class Found:
    """What a check found.

    Args:
        places: the places of the rows found.
        text: function that gives what is shown of a row.
        others: the place of the row that each is compared with; empty where there is none.
        groups: number of groups that the rows form; None where they form none.
    """

    places: Sequence[int]
    text: Callable[[Example, str], str]
    others: Mapping[int, int]
    groups: int | None = None


def every_finding(rows: Rows, limits: Checks) -> Iterator[Finding]:
    """Yield what each check found, in the order of the thresholds in params.yaml; a count of 0 is a finding too.

    Args:
        rows: all rows.
        limits: the thresholds.
    """
    for name, limit in limits:
        severity, what, check = _CHECKS[name]
        found = check(rows)
        count = len(found.places)
        yield Finding(
            name=name,
            severity="error" if limit is not None and count > limit else severity,
            count=count,
            groups=found.groups,
            limit=limit,
            what=what,
            ids=[rows.ids[place] for place in found.places],
            examples=[_sample(rows, found, name, place) for place in found.places[:_EXAMPLES]],
        )


def _sample(rows: Rows, found: Found, name: str, place: int) -> Sample:
    sample = Sample(id=rows.ids[place], split=rows.split(place), text=found.text(rows.row(place), name))
    if place not in found.others:
        return sample
    other = found.others[place]
    return sample.model_copy(update={"other": rows.ids[other], "other_text": _text(rows.row(other), name)})


def _short(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}…"


def _text(row: Example, _: str) -> str:
    """Prompt and answer of an example, without keys and personal data."""
    return _short(f"{_short(scrubbed(prompt_text(row)))}\n→ {scrubbed(row.output)}")


def _masked(row: Example, kind: str) -> str:
    """The beginnings alone of the personal data or keys in a row."""
    return ", ".join(map(masked, list(dict.fromkeys(KINDS[kind](text_of(row))))[:_EXAMPLES]))


def _offensive(row: Example, _: str) -> str:
    """The beginnings alone of the slurs and insults in a row."""
    return ", ".join(map(masked, list(dict.fromkeys(offensive_words(text_of(row))))[:_EXAMPLES]))


def _unfinished(row: Example, _: str) -> str:
    """What was found in an answer, and the row."""
    return f"{', '.join(islice(unfinished(row), _EXAMPLES))}\n{_text(row, _)}"


def _category(row: Example, _: str) -> str:
    return _short(row.category)


def _paired(pairs: Mapping[int, int], groups: int | None = None) -> Found:
    """A finding of rows that are compared with another one each."""
    return Found(list(pairs), _text, pairs, groups)


def _repeated_rows(rows: Rows) -> Found:
    pairs = {one: group[0] for group in equal_in_order(rows.wholes) for one in group[1:]}
    return _paired({one: pairs[one] for one in sorted(pairs)}, len(set(pairs.values())))


def _repeated_prompts(rows: Rows) -> Found:
    groups = list(rows.groups(rows.duplicates.equal))
    return _paired({one: group[0] for group in groups for one in group[1:]}, len(groups))


def _conflicting_answers(rows: Rows) -> Found:
    groups = [
        group for group in rows.groups(rows.duplicates.equal) if len({rows.answers[place] for place in group}) > 1
    ]
    pairs = {
        one: next(other for other in group if rows.answers[other] != rows.answers[one])
        for group in groups
        for one in group
    }
    return _paired(pairs, len(groups))


def _near_duplicates(rows: Rows) -> Found:
    equal = rows.of(rows.duplicates.equal)
    pairs: dict[int, int] = {}
    count = 0
    for group in rows.groups(rows.duplicates.near):
        others = [one for one in group if equal[one] != equal[group[0]]]
        pairs |= dict.fromkeys(others, group[0])
        count += bool(others)
    return _paired(pairs, count)


def _leaks(rows: Rows) -> Found:
    return _paired(_in_train(rows, rows.duplicates.equal))


def _near_leaks(rows: Rows) -> Found:
    exact = _in_train(rows, rows.duplicates.equal)
    return _paired({one: other for one, other in _in_train(rows, rows.duplicates.near).items() if one not in exact})


def _in_train(rows: Rows, groups: Sequence[int]) -> dict[int, int]:
    """The rows of test and val of whose group one is in train, each with the first such."""
    of_place = rows.of(groups)
    first = [-1] * len(rows)  # a group is named by the number of its first row
    others = []
    for place, group in enumerate(of_place):
        if rows.split(place) != "train":
            others.append(place)
        elif first[group] < 0:
            first[group] = place
    return {place: first[of_place[place]] for place in others if first[of_place[place]] >= 0}


def _few_test_rows(rows: Rows) -> Found:
    test = [place for place in range(len(rows)) if rows.split(place) == "test"]
    return Found([] if few.instructions(map(rows.row, test)) >= few.LEAST else test, _text, {})


def _those(name: str, text: Callable[[Example, str], str]) -> Callable[[Rows], Found]:
    """The rows that a look at their own texts finds."""
    return lambda rows: Found(rows.found[name], text, {})


def _over_context(rows: Rows) -> Found:
    return _too_long(rows, rows.long.places)


def _dropped(rows: Rows) -> Found:
    # Test prompts are never cut: the stage generate tells which of them leave no room for an answer.
    return _too_long(rows, [place for place in rows.long.dropped if rows.split(place) != "test"])


def _too_long(rows: Rows, places: Sequence[int]) -> Found:
    """A finding of rows that are longer than the context, each shown with its number of tokens."""
    counts = {rows.ids[place]: rows.long.counts_of(place) for place in places[:_EXAMPLES]}

    def text(row: Example, name: str) -> str:
        tokens, prompt = counts[row.id]
        said = f"{counted(tokens, 'token')}, {prompt:,} of them its prompt; context {rows.long.length:,}"
        return f"{said}\n{_text(row, name)}"

    return Found(places, text, {})


def _other_scripts(rows: Rows) -> Found:
    return _unlike_most(rows.scripts, rows.scripts.counts(), {NO_LETTERS})


def _other_languages(rows: Rows) -> Found:
    return _unlike_most(rows.languages, rows.languages.counts(), {SHORT, UNSURE})


def _unlike_most(labels: Iterable[str], counts: Counter[str], unknown: Set[str]) -> Found:
    """The rows with another label than most rows, but for those whose label is unknown."""
    known = {name: count for name, count in counts.items() if name not in unknown}
    most = min(known, key=lambda name: (-known[name], name), default="")
    places = [place for place, name in enumerate(labels) if name != most and name in known]
    return Found(places, _text, {}, max(len(known) - 1, 0))


def _unseen_categories(rows: Rows) -> Found:
    seen = {category for place, category in enumerate(rows.categories) if rows.split(place) == "train"}
    found = {place: category for place, category in enumerate(rows.categories) if category not in seen}
    return Found(list(found), _category, {}, len(set(found.values())))


def _template_siblings(rows: Rows) -> Found:
    skeletons = rows.of(rows.duplicates.skeletons)
    counts = Counter(first for first in skeletons if first >= 0)
    siblings = {first for first, count in counts.items() if count >= _SIBLINGS}
    return Found([place for place, first in enumerate(skeletons) if first in siblings], _text, {}, len(siblings))


#: Of each check, by the key of its threshold: how bad a finding is, what its rows have in common, and the check.
_CHECKS: dict[str, tuple[Severity, str, Callable[[Rows], Found]]] = {
    "repeated_rows": ("warning", "rows that repeat a whole earlier row", _repeated_rows),
    "repeated_prompts": ("warning", "rows that repeat the prompt of an earlier row", _repeated_prompts),
    "conflicting_answers": ("warning", "rows with one prompt and different answers", _conflicting_answers),
    "near_duplicates": (
        "warning",
        "rows that ask the same as an earlier row, written differently",
        _near_duplicates,
    ),
    "leaks": ("warning", "rows of test and val whose prompt is in train", _leaks),
    "near_leaks": ("warning", "rows of test and val whose prompt is in train, written differently", _near_leaks),
    "few_test_rows": ("warning", f"test rows, of fewer than {few.LEAST} different instructions", _few_test_rows),
    "empty_answers": ("warning", "rows whose answer has no letter, digit or sign", _those("empty_answers", _text)),
    "placeholders": ("warning", "rows with a word for nothing, such as N/A", _those("placeholders", _text)),
    "unfinished_answers": (
        "warning",
        "answers with something left to fill in, or with a chatbot's words about itself",
        _those("unfinished_answers", _unfinished),
    ),
    "template_markers": ("warning", "rows that hold the heading of an answer", _those("template_markers", _text)),
    "over_context": ("warning", "rows longer than tokenize.context_length", _over_context),
    "dropped": ("warning", "rows of train and val whose prompt alone fills the context", _dropped),
    "api_keys": ("warning", "rows with a key of a service or a private key", _those("api_keys", _masked)),
    "ibans": ("warning", "rows with a bank account number (IBAN)", _those("ibans", _masked)),
    "emails": ("warning", "rows with an e-mail address", _those("emails", _masked)),
    "phones": ("warning", "rows with a telephone number", _those("phones", _masked)),
    "offensive_words": ("warning", "rows with a slur or an insult", _those("offensive_words", _offensive)),
    "other_scripts": ("info", "rows in another script than most rows", _other_scripts),
    "other_languages": ("info", "rows in another language than most rows", _other_languages),
    "unseen_categories": ("info", "rows of test and val of a category that train has no row of", _unseen_categories),
    "template_siblings": ("info", "rows that share their template with four others or more", _template_siblings),
}
