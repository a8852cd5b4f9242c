"""Write assets/data/instructions.json from the tables beside this file.

    python -m assets.dataset.build            write the file
    python -m assets.dataset.build --check    write nothing; exit 1 if the file is out of date

Deterministic: the same tables give the same bytes on any Python from 3.11, with nothing but the
standard library. All rows are checked before anything is written.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from assets.dataset import (
    extraction,
    facts,
    groups,
    meanings,
    off_topic,
    quantities,
    sentence_forms,
    sentence_labels,
    sentence_rewriting,
    spelling_and_sound,
    word_forms,
)
from assets.dataset.rows import Row
from stages.running import streams

SEED = 20240
OUTPUT = Path(__file__).resolve().parents[1] / "data" / "instructions.json"
REBUILD = "python -m assets.dataset.build"
TABLES = (
    extraction,
    facts,
    groups,
    meanings,
    off_topic,
    quantities,
    sentence_forms,
    sentence_labels,
    sentence_rewriting,
    spelling_and_sound,
    word_forms,
)
# An answer with one of these would look like the prompt template or like a special token.
MARKERS = ("###", "<|")


class DatasetError(ValueError):
    """The tables make rows that must not be shipped; the message lists every problem."""


def build() -> str:
    """The text of instructions.json."""
    rows = [row for table in TABLES for row in table.rows(rng_for)]
    problems = find_problems(rows)
    if problems:
        raise DatasetError("the tables make bad rows:\n" + "\n".join(problems))
    entries = [row._asdict() for row in in_file_order(rows)]
    return json.dumps(entries, ensure_ascii=False, indent=2) + "\n"


def rng_for(purpose: str) -> random.Random:
    """The generator of one category, or of one step, seeded by its name."""
    return random.Random(f"{SEED}/{purpose}")


def find_problems(rows: Sequence[Row]) -> list[str]:
    """Repeated questions, also when they differ only in case or spacing, and unfit texts."""
    problems = []
    seen: dict[tuple[str, str], Row] = {}
    for row in rows:
        question = (normalised(row.instruction), normalised(row.input))
        if question in seen:
            problems.append(f"asked twice: {row} and {seen[question]}")
        seen[question] = row
        if not (row.instruction.strip() and row.output.strip()):
            problems.append(f"empty instruction or output: {row}")
        if any(marker in row.output for marker in MARKERS):
            problems.append(f"output holds one of {MARKERS}: {row}")
    return problems


def normalised(text: str) -> str:
    return " ".join(text.lower().split())


def in_file_order(rows: Sequence[Row]) -> list[Row]:
    """Shuffled, with every category spread evenly over the file.

    The i-th of a category's n shuffled rows lands at a random place in [i/n, (i+1)/n) of the file, so
    any tenth of it holds about a tenth of each category, where a plain shuffle could leave one out.
    """
    rng = rng_for("file order")
    placed = []
    for category in sorted({row.category for row in rows}):
        of_category = [row for row in rows if row.category == category]
        rng.shuffle(of_category)
        for index, row in enumerate(of_category):
            placed.append(((index + rng.random()) / len(of_category), row))
    return [row for _, row in sorted(placed)]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=REBUILD, description="Build the bundled instruction dataset.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 if out of date")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the file to write or to compare")
    args = parser.parse_args(argv)

    wanted = build().encode("utf-8")
    if args.check:
        if not args.output.is_file() or args.output.read_bytes() != wanted:
            print(f"{args.output} is out of date; rebuild it with: {REBUILD}", file=sys.stderr)
            return 1
        return 0
    partial = args.output.with_name(args.output.name + ".part")
    partial.write_bytes(wanted)
    os.replace(partial, args.output)
    return 0


if __name__ == "__main__":
    streams.prepare()
    sys.exit(main())
