"""Divide the dataset into train, test and val, every row with a stable id, and report what they hold.

Reads artifacts/download/dataset.json; writes artifacts/split/{train,test,val}.jsonl and metrics.json.
"""

from __future__ import annotations

from stages.common.errors import DataError
from stages.common.records import write_metrics, write_records
from stages.common.results.download import DATASET
from stages.common.results.split import SPLIT_METRICS, split_file
from stages.download import dataset
from stages.params.split import Split
from stages.running import program
from stages.running.console import say
from stages.split.census import describe, take_census
from stages.split.splits import divide, with_ids

MADE_BY = "dvc repro download"


def main() -> None:
    """Run the stage."""
    settings = program.section(Split)
    if not DATASET.is_file():
        raise DataError(f"{DATASET}: no such file", MADE_BY)
    rows = dataset.read(DATASET, name=str(DATASET), fix=MADE_BY).rows
    division = divide(with_ids(rows), settings)
    census = take_census(division)
    for name, examples in division.items():
        write_records(split_file(name), examples)
    write_metrics(SPLIT_METRICS, census)
    for line in describe(census):
        say(line)


if __name__ == "__main__":
    program.run("split", main)
