"""Divide the dataset into train, test and val, every row with a stable id, and check what they hold.

Reads artifacts/download/dataset.json; writes artifacts/split/{train,test,val}.jsonl, metrics.json, and what the checks
found as report.json and report.html. With more findings than split.checks allows it writes none of them.
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
from stages.split.checks import gate, near
from stages.split.splits import divide, with_ids

MADE_BY = "dvc repro download"


def main() -> None:
    """Run the stage."""
    settings = program.section(Split)
    if not DATASET.is_file():
        raise DataError(f"{DATASET}: no such file", MADE_BY)
    examples = with_ids(dataset.read(DATASET, name=str(DATASET), fix=MADE_BY).rows)
    duplicates = near.find(examples)
    division = divide(examples, settings, duplicates.near)
    census = take_census(division)
    report = gate.inspect(division, examples, duplicates, census, settings.checks)
    gate.refuse(report)
    for name, rows in division.items():
        write_records(split_file(name), rows)
    write_metrics(SPLIT_METRICS, census)
    gate.write(report)
    for line in (*describe(census), *gate.describe(report)):
        say(line)


if __name__ == "__main__":
    program.run("split", main)
