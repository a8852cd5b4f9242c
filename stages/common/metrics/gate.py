"""What the checks of the stage split find in the rows: its report.json."""

from __future__ import annotations

from typing import Literal

from stages.common.metrics.split import TextLengths
from stages.common.records import Metrics

#: error: more rows than its threshold allows, so that the stage fails. warning: rows that can mislead a training or its
#: score. info: told, and often meant.
Severity = Literal["error", "warning", "info"]


class Sample(Metrics):
    """An example of a finding.

    Args:
        id: id of the row.
        split: the split that the row is in.
        text: what was found, shortened; of personal data and keys in it, only the beginning.
        other: id of the row that it is compared with; null where there is none.
        other_text: the text of that row; null where there is none.
    """

    id: str
    split: str
    text: str
    other: str | None = None
    other_text: str | None = None


class Finding(Metrics):
    """What a check found.

    Args:
        name: the check, which is also its key below split.checks.
        severity: how bad it is.
        count: number of rows found.
        groups: number of groups that the rows form; null where they form none.
        limit: the threshold: the largest count that is allowed; null allows any.
        what: what the rows have in common, in words.
        ids: ids of all rows found, in the order of the splits and their rows.
        examples: the first five.
    """

    name: str
    severity: Severity
    count: int
    groups: int | None
    limit: int | None
    what: str
    ids: list[str]
    examples: list[Sample]


class Template(Metrics):
    """Words that many prompts share, with a gap where they differ, and the number of rows with them."""

    text: str
    rows: int


class GateReport(Metrics):
    """What all checks found.

    Args:
        rows: number of rows in each split, and in ``all``.
        findings: what was found, errors first; a check without a finding is in ``passed``.
        passed: the names of the checks that found nothing.
        characters: text lengths, by split.
        categories: rows of each category, by split.
        scripts: rows by the script of most of their letters, such as LATIN, the most frequent first.
        languages: rows by their language as its code in ISO 639, such as en, the most frequent first; ``short`` for
            those that are too short to tell, and ``unsure`` for those in several languages, in names, numbers or code.
        templates: the most frequent templates of prompts.
        longest: characters of the longest rows, by id, the longest first.
    """

    rows: dict[str, int]
    findings: list[Finding]
    passed: list[str]
    characters: dict[str, TextLengths]
    categories: dict[str, dict[str, int]]
    scripts: dict[str, int]
    languages: dict[str, int]
    templates: list[Template]
    longest: dict[str, int]
