"""What a division holds: counts, lengths, and the rows that occur more than once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from stages.common.metrics.split import AlsoInTrain, Lengths, Repeated, RepeatedPrompts, SplitMetrics, TextLengths
from stages.common.results.split import SPLIT_METRICS, Example

#: The columns that hold what the model is asked in a row.
PROMPT = ["instruction", "input"]


def take_census(division: Mapping[str, Sequence[Example]]) -> SplitMetrics:
    """Count and measure the rows of a division into train, test and val.

    A prompt is the (instruction, input) of a row. A test row whose prompt also occurs in train measures memory more
    than skill, even if the outputs differ. Such rows are reported, not removed.

    Args:
        division: rows of each split, by its name.
    """
    rows = _table(division)
    names = list(division)
    prompts = rows.groupby(PROMPT)["output"].agg(["size", "nunique"]).query("size > 1")
    whole_rows = rows.groupby([*PROMPT, "output"]).size().loc[lambda size: size > 1]
    return SplitMetrics(
        rows={"all": len(rows)} | _by_split(rows, names),
        repeated_rows=Repeated(groups=len(whole_rows), rows_beyond_first=_beyond_first(whole_rows)),
        repeated_prompts=RepeatedPrompts(
            groups=len(prompts),
            rows_beyond_first=_beyond_first(prompts["size"]),
            groups_with_different_outputs=int((prompts["nunique"] > 1).sum()),
        ),
        prompts_also_in_train=_also_in_train(rows),
        within_splits=_by_split(rows[rows.duplicated(["split", *PROMPT])], names),
        characters={name: _text_lengths(rows[rows["split"] == name]) for name in names},
        categories={str(name): _by_split(found, names) for name, found in rows.groupby("category")},
    )


def describe(census: SplitMetrics) -> Iterator[str]:
    """Yield the lines that the stage prints about a division."""
    rows, prompts = census.rows, census.repeated_prompts
    yield (
        f"{rows['all']:,} rows: {rows['train']:,} train, {rows['test']:,} test, {rows['val']:,} val; "
        f"categories: {len(census.categories)}"
    )
    if prompts.groups:
        yield (
            f"repeated: {prompts.groups} prompts occur more than once "
            f"({prompts.rows_beyond_first} rows beyond the first), "
            f"{prompts.groups_with_different_outputs} of them with different outputs; "
            f"{census.repeated_rows.rows_beyond_first} rows repeat a whole row"
        )
    for name, found in census.prompts_also_in_train.items():
        if found.count:
            yield f"warning: {found.count} {name} rows also occur in train (ids in {SPLIT_METRICS})"


def _table(division: Mapping[str, Sequence[Example]]) -> pd.DataFrame:
    """One row an example, in the order of the splits."""
    table = pd.DataFrame(
        [{"split": name, **row.model_dump()} for name, rows in division.items() for row in rows],
        columns=["split", *Example.model_fields],
        dtype="str",
    )
    for name, columns in (("prompt_length", PROMPT), ("output_length", ["output"])):
        table[name] = sum(table[column].str.len() for column in columns)
    return table


def _also_in_train(rows: pd.DataFrame) -> dict[str, AlsoInTrain]:
    """The rows of test and of val whose prompt occurs in train."""
    in_train = rows["split"].eq("train").groupby([rows[column] for column in PROMPT]).transform("any")
    ids = {name: rows[in_train & (rows["split"] == name)]["id"].tolist() for name in ("test", "val")}
    return {name: AlsoInTrain(count=len(found), ids=found) for name, found in ids.items()}


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
