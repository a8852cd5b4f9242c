"""The checks: each looks for rows that can mislead a training or its score, and gives a finding."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from stages.common.metrics.gate import Finding, Sample, Severity
from stages.common.results.split import Example
from stages.params.split import Checks
from stages.split.census import holds_headings, looks_like_a_placeholder
from stages.split.checks.near import Duplicates
from stages.split.checks.personal import KINDS, masked, scrubbed
from stages.split.checks.scripts import NO_LETTERS, script_of
from stages.split.checks.words import prompt_text

#: Examples of a finding, and the longest text of one, in characters.
_EXAMPLES = 5
_TEXT = 300
#: Rows of a template that are told as siblings.
_SIBLINGS = 5


@dataclass(frozen=True)
class Placed:
    """A row and where it is.

    Args:
        row: the row.
        split: the split that it is in.
        number: its number in the file, from 0.
    """

    row: Example
    split: str
    number: int

    @property
    def text(self) -> str:
        """All texts of the row."""
        return "\n".join((self.row.instruction, self.row.input, self.row.output))


@dataclass(frozen=True)
class Found:
    """What a check found.

    Args:
        rows: the rows found.
        samples: an example for each of them, made when it is shown.
        groups: number of groups that the rows form; None where they form none.
    """

    rows: Sequence[Placed]
    samples: Callable[[Placed], Sample]
    groups: int | None = None


class Rows:
    """All rows with what is known of them.

    Args:
        division: rows of each split, by its name.
        order: all rows, in the order of the file.
        duplicates: equal and near-equal prompts among them.
    """

    def __init__(
        self, division: Mapping[str, Sequence[Example]], order: Sequence[Example], duplicates: Duplicates
    ) -> None:
        number = {row.id: at for at, row in enumerate(order)}
        self.placed = [Placed(row, name, number[row.id]) for name, rows in division.items() for row in rows]
        self.duplicates = duplicates
        self.scripts = [script_of(one.text) for one in self.placed]

    def groups(self, of: Sequence[int]) -> Iterator[list[Placed]]:
        """The groups of two rows or more, each in the order of the splits.

        Args:
            of: the group of each row, by its number in the file.
        """
        found: dict[int, list[Placed]] = defaultdict(list)
        for one in self.placed:
            found[of[one.number]].append(one)
        yield from (group for group in found.values() if len(group) > 1)


def every_finding(rows: Rows, limits: Checks) -> Iterator[Finding]:
    """Yield what each check found, in the order of the thresholds in params.yaml; a count of 0 is a finding too.

    Args:
        rows: all rows.
        limits: the thresholds.
    """
    for name, limit in limits:
        severity, what, check = _CHECKS[name]
        found = check(rows)
        count = len(found.rows)
        yield Finding(
            name=name,
            severity="error" if limit is not None and count > limit else severity,
            count=count,
            groups=found.groups,
            limit=limit,
            what=what,
            ids=[one.row.id for one in found.rows],
            examples=[found.samples(one) for one in found.rows[:_EXAMPLES]],
        )


def _short(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}…"


def _with_answer(row: Example) -> str:
    """Prompt and answer of an example, without keys and personal data."""
    return _short(f"{_short(scrubbed(prompt_text(row)))}\n→ {scrubbed(row.output)}")


def _alone(one: Placed) -> Sample:
    return Sample(id=one.row.id, split=one.split, text=_with_answer(one.row))


def _beside(others: Mapping[str, Placed]) -> Callable[[Placed], Sample]:
    """Examples beside the row that each is compared with.

    Args:
        others: that row, by the id of the one that was found.
    """

    def sample(one: Placed) -> Sample:
        other = others[one.row.id].row
        return _alone(one).model_copy(update={"other": other.id, "other_text": _with_answer(other)})

    return sample


def _paired(pairs: Iterable[tuple[Placed, Placed]], groups: int | None = None) -> Found:
    """A finding of rows that are compared with another one each."""
    pairs = list(pairs)
    return Found([one for one, _ in pairs], _beside({one.row.id: other for one, other in pairs}), groups)


def _repeated_rows(rows: Rows) -> Found:
    first: dict[tuple[str, str, str], Placed] = {}
    pairs = []
    for one in rows.placed:
        there = first.setdefault((one.row.instruction, one.row.input, one.row.output), one)
        if there is not one:
            pairs.append((one, there))
    return _paired(pairs, len({other.row.id for _, other in pairs}))


def _repeated_prompts(rows: Rows) -> Found:
    groups = list(rows.groups(rows.duplicates.equal))
    return _paired(((one, group[0]) for group in groups for one in group[1:]), len(groups))


def _conflicting_answers(rows: Rows) -> Found:
    groups = [group for group in rows.groups(rows.duplicates.equal) if len({one.row.output for one in group}) > 1]
    return _paired(((one, _with_another_answer(one, group)) for group in groups for one in group), len(groups))


def _with_another_answer(one: Placed, group: Sequence[Placed]) -> Placed:
    return next(other for other in group if other.row.output != one.row.output)


def _near_duplicates(rows: Rows) -> Found:
    equal = rows.duplicates.equal
    pairs, count = [], 0
    for group in rows.groups(rows.duplicates.near):
        others = [one for one in group if equal[one.number] != equal[group[0].number]]
        pairs += [(one, group[0]) for one in others]
        count += bool(others)
    return _paired(pairs, count)


def _leaks(rows: Rows) -> Found:
    return _paired(_in_train(rows, rows.duplicates.equal))


def _near_leaks(rows: Rows) -> Found:
    exact = {one.row.id for one, _ in _in_train(rows, rows.duplicates.equal)}
    return _paired(pair for pair in _in_train(rows, rows.duplicates.near) if pair[0].row.id not in exact)


def _in_train(rows: Rows, groups: Sequence[int]) -> list[tuple[Placed, Placed]]:
    """The rows of test and val of whose group one is in train, and that one."""
    train: dict[int, Placed] = {}
    for one in rows.placed:
        if one.split == "train":
            train.setdefault(groups[one.number], one)
    return [
        (one, train[groups[one.number]]) for one in rows.placed if one.split != "train" and groups[one.number] in train
    ]


def _those(is_so: Callable[[Example], bool]) -> Callable[[Rows], Found]:
    return lambda rows: Found([one for one in rows.placed if is_so(one.row)], _alone)


def _without_a_word(row: Example) -> bool:
    """Whether an answer has no letter, no digit and no sign but points, dashes and such."""
    return not row.output.strip(" \t\r\n.,;:_-–—…\"'`´()[]{}|\u200b\ufeff")


def _holding(kind: str) -> Callable[[Rows], Found]:
    """The rows with personal data or a key. The example shows the beginning of it alone."""

    def check(rows: Rows) -> Found:
        found = {one.row.id: texts for one in rows.placed if (texts := list(dict.fromkeys(KINDS[kind](one.text))))}
        return Found(
            [one for one in rows.placed if one.row.id in found],
            lambda one: Sample(id=one.row.id, split=one.split, text=", ".join(map(masked, found[one.row.id][:5]))),
        )

    return check


def _other_scripts(rows: Rows) -> Found:
    counts = Counter(script for script in rows.scripts if script != NO_LETTERS)
    most = min(counts, key=lambda name: (-counts[name], name)) if counts else NO_LETTERS
    pairs = zip(rows.placed, rows.scripts, strict=True)
    return Found([one for one, script in pairs if script not in (most, NO_LETTERS)], _alone, max(len(counts) - 1, 0))


def _unseen_categories(rows: Rows) -> Found:
    seen = {one.row.category for one in rows.placed if one.split == "train"}
    found = [one for one in rows.placed if one.row.category not in seen]
    return Found(
        found,
        lambda one: Sample(id=one.row.id, split=one.split, text=_short(one.row.category)),
        len({one.row.category for one in found}),
    )


def _template_siblings(rows: Rows) -> Found:
    skeletons = rows.duplicates.skeletons
    counts = Counter(text for text in skeletons if text)
    groups = {text for text, count in counts.items() if count >= _SIBLINGS}
    return Found([one for one in rows.placed if skeletons[one.number] in groups], _alone, len(groups))


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
    "empty_answers": ("warning", "rows whose answer has no letter, digit or sign", _those(_without_a_word)),
    "placeholders": ("warning", "rows with a word for nothing, such as N/A", _those(looks_like_a_placeholder)),
    "template_markers": ("warning", "rows that hold the heading of an answer", _those(holds_headings)),
    "api_keys": ("warning", "rows with a key of a service or a private key", _holding("api_keys")),
    "ibans": ("warning", "rows with a bank account number (IBAN)", _holding("ibans")),
    "emails": ("warning", "rows with an e-mail address", _holding("emails")),
    "phones": ("warning", "rows with a telephone number", _holding("phones")),
    "other_scripts": ("info", "rows in another script than most rows", _other_scripts),
    "unseen_categories": ("info", "rows of test and val of a category that train has no row of", _unseen_categories),
    "template_siblings": ("info", "rows that share their template with four others or more", _template_siblings),
}
