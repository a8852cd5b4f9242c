"""What a division holds: counts, lengths, and the rows that occur more than once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from stages.common.results.split import Example

#: The columns of what the model is asked in a row.
PROMPT = ["instruction", "input"]


def report(division: Mapping[str, Sequence[Example]]) -> dict[str, Any]:
    """The data report of a division into train, test and val.

    A prompt is a row's (instruction, input). A test row whose prompt occurs in train measures memory more than
    skill, also where the outputs differ; it is reported, not removed.

    Args:
        division: the rows of every split.

    Returns:
        rows: the number in each split and in all.
        repeated_rows: how many different (instruction, input, output) occur more than once, and how many rows
            they make beyond the first of each.
        repeated_prompts: the same for prompts, and how many of them have different outputs.
        prompts_also_in_train: for test and val, the number and the ids of the rows whose prompt occurs in train.
        within_splits: the rows of each split whose prompt has occurred earlier in that split.
        characters: mean, median and longest of prompt and output in each split.
        categories: rows of each category in each split.
    """
    rows = _table(division)
    names = list(division)
    repeated = rows.groupby(PROMPT)["output"].agg(["size", "nunique"]).query("size > 1")
    prompt_in_train = rows["split"].eq("train").groupby([rows[column] for column in PROMPT]).transform("any")
    return {
        "rows": {"all": len(rows)} | _by_split(rows, names),
        "repeated_rows": _beyond_first(rows.groupby([*PROMPT, "output"]).size().loc[lambda size: size > 1]),
        "repeated_prompts": _beyond_first(repeated["size"])
        | {"groups_with_different_outputs": int((repeated["nunique"] > 1).sum())},
        "prompts_also_in_train": {
            name: {"count": len(found), "ids": found["id"].tolist()}
            for name in ("test", "val")
            for found in [rows[prompt_in_train & (rows["split"] == name)]]
        },
        "within_splits": _by_split(rows[rows.duplicated(["split", *PROMPT])], names),
        "characters": {
            name: {"prompt": _lengths(part["prompt_length"]), "output": _lengths(part["output_length"])}
            for name in names
            for part in [rows[rows["split"] == name]]
        },
        "categories": pd.crosstab(rows["category"], rows["split"])
        .reindex(columns=names, fill_value=0)
        .to_dict(orient="index"),
    }


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


def _by_split(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, int]:
    counts = rows["split"].value_counts()
    return {name: int(counts.get(name, 0)) for name in names}


def _beyond_first(sizes: pd.Series[int]) -> dict[str, int]:
    """Of groups of equal rows: how many there are, and how many rows they make beyond the first of each."""
    return {"groups": len(sizes), "rows_beyond_first": int(sizes.sum()) - len(sizes)}


def _lengths(lengths: pd.Series[int]) -> dict[str, float]:
    return {
        "mean": round(float(lengths.mean()), 1),
        "median": float(lengths.median()),
        "longest": int(lengths.max()),
    }
