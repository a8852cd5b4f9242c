"""What a division holds: counts, lengths, and the rows that occur more than once."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from stages.common.metrics.split import AlsoInTrain, Lengths, Repeated, RepeatedPrompts, SplitMetrics, TextLengths
from stages.common.plurals import counted
from stages.common.results.split import SPLIT_METRICS, Example
from stages.download.formats.hard import ANSWER_HEADINGS, is_placeholder
from stages.split.digests import digest


def take_census(division: Mapping[str, Sequence[Example]]) -> SplitMetrics:
    """Count and measure the rows of a division into train, test and val.

    A prompt is the (instruction, input) of a row. A test row whose prompt also occurs in train measures memory more
    than skill, even if the outputs differ. Such rows are reported, not removed.

    Args:
        division: rows of each split, by its name.
    """
    figures = _Figures(division)
    rows = figures.table
    names = list(division)
    prompts = rows.groupby("prompt")["output"].agg(["size", "nunique"]).query("size > 1")
    whole_rows = rows.groupby(["prompt", "output"]).size().loc[lambda size: size > 1]
    #: Absent, not empty, where there are none: most datasets have none.
    found = {"placeholders": figures.placeholders} if figures.placeholders else {}
    found |= {"template_markers": figures.markers} if figures.markers else {}
    return SplitMetrics(
        rows={"all": len(rows)} | _by_split(rows, names),
        repeated_rows=Repeated(groups=len(whole_rows), rows_beyond_first=_beyond_first(whole_rows)),
        repeated_prompts=RepeatedPrompts(
            groups=len(prompts),
            rows_beyond_first=_beyond_first(prompts["size"]),
            groups_with_different_outputs=int((prompts["nunique"] > 1).sum()),
        ),
        prompts_also_in_train=_also_in_train(rows, division),
        within_splits=_by_split(rows[rows.duplicated(["split", "prompt"])], names),
        characters={name: _text_lengths(rows[rows["split"] == name]) for name in names},
        categories=figures.by_category(names),
        **found,
    )


class _Figures:
    """What the census needs of each row, in numbers: some 40 bytes a row.

    Args:
        division: rows of each split, by its name.
    """

    def __init__(self, division: Mapping[str, Sequence[Example]]) -> None:
        columns = {"prompt": array("Q"), "output": array("Q")}
        columns |= {"category": array("i"), "prompt_length": array("i"), "output_length": array("i")}
        codes: dict[str, int] = {}
        self.placeholders: dict[str, list[str]] = {}
        self.markers: dict[str, list[str]] = {}
        for name, rows in division.items():
            for row in rows:
                columns["prompt"].append(digest(row.instruction, row.input))
                columns["output"].append(digest(row.output))
                columns["category"].append(codes.setdefault(row.category, len(codes)))
                columns["prompt_length"].append(len(row.instruction) + len(row.input))
                columns["output_length"].append(len(row.output))
                if looks_like_a_placeholder(row):
                    self.placeholders.setdefault(name, []).append(row.id)
                if holds_headings(row):
                    self.markers.setdefault(name, []).append(row.id)
        self._categories = list(codes)
        self.table = pd.DataFrame({key: np.frombuffer(column, column.typecode) for key, column in columns.items()})
        sizes = [len(rows) for rows in division.values()]
        places = np.repeat(np.arange(len(sizes), dtype=np.int8), sizes)
        self.table["split"] = pd.Categorical.from_codes(places, pd.Index(list(division)))

    def by_category(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        """The number of rows of each split, by category in the order of the alphabet."""
        shape = (len(self._categories), len(names))
        counts = np.zeros(shape, dtype=np.int64)
        np.add.at(counts, (self.table["category"].to_numpy(), self.table["split"].cat.codes.to_numpy()), 1)
        order = sorted(range(shape[0]), key=self._categories.__getitem__)
        return {self._categories[at]: dict(zip(names, counts[at].tolist(), strict=True)) for at in order}


def looks_like_a_placeholder(row: Example) -> bool:
    """Whether a field stands for "nothing" in a word of its own, as some rows of Alpaca's dataset do."""
    return (row.input != "" and not row.input.strip()) or any(is_placeholder(text) for text in (row.input, row.output))


def holds_headings(row: Example) -> bool:
    """Whether a text holds the heading of an answer, as a row does that was merged with the next one."""
    return any(heading in text for text in (row.instruction, row.input, row.output) for heading in ANSWER_HEADINGS)


def describe(census: SplitMetrics) -> Iterator[str]:
    """Yield the lines that the stage prints about a division."""
    rows, prompts = census.rows, census.repeated_prompts
    whole = census.repeated_rows.rows_beyond_first
    yield (
        f"{rows['all']:,} rows: {rows['train']:,} train, {rows['test']:,} test, {rows['val']:,} val; "
        f"categories: {len(census.categories)}"
    )
    if prompts.groups:
        yield (
            f"repeated: {counted(prompts.groups, 'prompt occurs', 'prompts occur')} more than once "
            f"({counted(prompts.rows_beyond_first, 'row')} beyond the first), "
            f"{prompts.groups_with_different_outputs} of them with different outputs; "
            f"{counted(whole, 'row repeats', 'rows repeat')} a whole row"
        )
    for name, found in census.prompts_also_in_train.items():
        if found.count:
            also = counted(found.count, f"{name} row also occurs", f"{name} rows also occur")
            yield f"warning: {also} in train (ids in {SPLIT_METRICS})"
    for name, ids in (census.placeholders or {}).items():
        look = counted(len(ids), f"{name} row looks", f"{name} rows look")
        yield f"warning: {look} like a placeholder, not a text (ids in {SPLIT_METRICS})"
    for name, ids in (census.template_markers or {}).items():
        hold = counted(len(ids), f"{name} row holds", f"{name} rows hold")
        yield f"warning: {hold} headings of a prompt, as a merged row does (ids in {SPLIT_METRICS})"


def _also_in_train(rows: pd.DataFrame, division: Mapping[str, Sequence[Example]]) -> dict[str, AlsoInTrain]:
    """The rows of test and of val whose prompt occurs in train."""
    in_train = rows["prompt"].isin(rows["prompt"][rows["split"] == "train"])
    found = {}
    for name in ("test", "val"):
        places = np.flatnonzero(in_train[rows["split"] == name].to_numpy()).tolist()
        found[name] = AlsoInTrain(count=len(places), ids=[division[name][place].id for place in places])
    return found


def _by_split(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, int]:
    counts = rows["split"].value_counts()
    return {name: int(counts.get(name, 0)) for name in names}


def _beyond_first(sizes: pd.Series[int]) -> int:
    """How many rows groups of equal rows have beyond the first row of each."""
    return int(sizes.sum()) - len(sizes)


def _text_lengths(rows: pd.DataFrame) -> TextLengths:
    return TextLengths(prompt=_lengths(rows["prompt_length"]), output=_lengths(rows["output_length"]))


def _lengths(lengths: pd.Series[int]) -> Lengths:
    return Lengths(mean=round(float(lengths.mean()), 1), median=float(lengths.median()), longest=int(lengths.max()))
