"""What a division holds: counts, lengths, and the rows that occur more than once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd

from stages.common.metrics.split import AlsoInTrain, Lengths, Repeated, RepeatedPrompts, SplitMetrics, TextLengths
from stages.common.plurals import counted
from stages.common.results.split import SPLIT_METRICS, Example

#: The columns that hold what the model is asked in a row.
PROMPT = ["instruction", "input"]
#: Inputs and outputs that stand for "nothing" (tatsu-lab/stanford_alpaca, alpaca_data.json).
PLACEHOLDERS = frozenset(
    {"<noinput>", "<no input>", "<nooutput>", "<no output>", "no input", "no output", "n/a", "nan"}
)
#: The headings of an answer in the prompt styles in stages/tokenize/styles.py, which a test compares.
HEADINGS = ("### Response:", "<|assistant|>")


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
    placeholders = _ids_where(division, looks_like_a_placeholder)
    markers = _ids_where(division, holds_headings)
    #: Absent, not empty, where there are none: most datasets have none.
    found = {"placeholders": placeholders} if placeholders else {}
    found |= {"template_markers": markers} if markers else {}
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
        categories={str(name): _by_split(part, names) for name, part in rows.groupby("category")},
        **found,
    )


def looks_like_a_placeholder(row: Example) -> bool:
    """Whether a field stands for "nothing" in a word of its own, as some rows of Alpaca's dataset do."""
    return (row.input != "" and not row.input.strip()) or any(
        text.strip().lower() in PLACEHOLDERS for text in (row.input, row.output)
    )


def holds_headings(row: Example) -> bool:
    """Whether a text holds the heading of an answer, as a row does that was merged with the next one."""
    return any(heading in text for text in (row.instruction, row.input, row.output) for heading in HEADINGS)


def _ids_where(division: Mapping[str, Sequence[Example]], is_so: Callable[[Example], bool]) -> dict[str, list[str]]:
    """The ids of the rows of each split of which something holds; a split without such rows is left out."""
    found = {name: [row.id for row in rows if is_so(row)] for name, rows in division.items()}
    return {name: ids for name, ids in found.items() if ids}


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
