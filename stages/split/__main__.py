"""Divide the dataset into train, test and val, every row with a stable id, and report what they hold.

Reads artifacts/download/dataset.json; writes artifacts/split/{train,test,val}.jsonl and metrics.json.
"""

from __future__ import annotations

from typing import Any

from stages.common import files, records
from stages.common.errors import DataError
from stages.common.results.download import DATASET
from stages.common.results.split import SPLIT_METRICS, split_file
from stages.download import dataset
from stages.params.split import Split
from stages.running import program
from stages.running.console import say
from stages.split import splits
from stages.split.census import report

MADE_BY = "dvc repro download"


def main() -> None:
    """Run the stage."""
    settings = program.section(Split)
    if not DATASET.is_file():
        raise DataError(f"{DATASET}: no such file", MADE_BY)
    rows = dataset.read(DATASET, name=str(DATASET), mend=MADE_BY).rows
    division = splits.divide(splits.with_ids(rows), settings)
    findings = report(division)
    for name, examples in division.items():
        records.write_records(split_file(name), examples)
    files.write_json(SPLIT_METRICS, findings)
    _tell(findings)


def _tell(findings: dict[str, Any]) -> None:
    rows = findings["rows"]
    say(
        f"{rows['all']:,} rows: {rows['train']:,} train, {rows['test']:,} test, {rows['val']:,} val; "
        f"categories: {len(findings['categories'])}"
    )
    prompts = findings["repeated_prompts"]
    if prompts["groups"]:
        say(
            f"repeated: {prompts['groups']} prompts occur more than once "
            f"({prompts['rows_beyond_first']} rows beyond the first), "
            f"{prompts['groups_with_different_outputs']} of them with different outputs; "
            f"{findings['repeated_rows']['rows_beyond_first']} rows repeat a whole row"
        )
    for name, found in findings["prompts_also_in_train"].items():
        if found["count"]:
            say(f"warning: {found['count']} {name} rows also occur in train (ids in {SPLIT_METRICS})")


if __name__ == "__main__":
    program.run("split", main)
