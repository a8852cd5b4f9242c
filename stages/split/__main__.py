"""Divide the dataset into train, test and val, every row with a stable id, and check what they hold.

Reads artifacts/download/dataset.json, and the tokenizer, which finds rows that are longer than the context. Writes
artifacts/split/{train,test,val}.jsonl, metrics.json, and what the checks found as report.json and report.html. With
more findings than split.checks allows it writes none of them.
"""

from __future__ import annotations

from stages.common.errors import DataError
from stages.common.records import write_metrics
from stages.common.results.download import DATASET, TOKENIZER
from stages.common.results.split import SPLIT_METRICS, split_file
from stages.download import dataset
from stages.gpt2.tokenizer import Tokenizer
from stages.params.split import Split
from stages.params.tokenize import Tokenize
from stages.running import program, temporary
from stages.running.console import say
from stages.split import few, stored
from stages.split.census import describe, take_census
from stages.split.checks import gate, near
from stages.split.checks.context import Context
from stages.split.splits import divide, named

MADE_BY = "dvc repro download"


def main() -> None:
    """Run the stage."""
    settings, tokens = program.section(Split), program.section(Tokenize)
    if not DATASET.is_file():
        raise DataError(f"{DATASET}: no such file", MADE_BY)
    context = Context(tokens, Tokenizer(TOKENIZER))
    with temporary.folder() as folder:
        rows, places = dataset.each(DATASET, name=str(DATASET), fix=MADE_BY, extra=True), list[str]()
        examples = stored.Stored(folder / "rows.jsonl", named(rows, places))
        duplicates = near.find(examples)
        division = divide(examples, settings, duplicates.near, places)
        census = take_census(division)
        report = gate.inspect(division, examples, duplicates, census, settings.checks, context)
        gate.refuse(report)
        others = few.told(division, settings, lambda one: divide(examples, one, duplicates.near, places)["test"])
        told = [*describe(census), *gate.describe(report), *others]
        for name, part in division.items():
            stored.write(split_file(name), part)
    write_metrics(SPLIT_METRICS, census)
    gate.write(report)
    for line in told:
        say(line)


if __name__ == "__main__":
    program.run("split", main)
