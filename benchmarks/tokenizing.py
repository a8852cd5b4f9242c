"""One contender of `benchmarks.data`, in a process of its own: how fast it makes token ids of a split.

    python -m benchmarks.tokenizing CONTENDER FOLDER

FOLDER holds artifacts/ of the stages up to split. Prints JSON: tokens and seconds; for "checks" rows and seconds.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import child
from stages.common.results.download import TOKENIZER
from stages.common.results.split import SPLITS
from stages.gpt2.tokenizer import Tokenizer
from stages.params import whole
from stages.prompts.encoding import BatchEncoder
from stages.prompts.styles import STYLES
from stages.split import splits
from stages.split.census import take_census
from stages.split.checks import gate, near
from stages.split.checks.context import Context
from stages.split.stored import Stored
from stages.tokenize import in_batches
from stages.tokenize.in_batches import examples

STYLE = STYLES["alpaca"]
CORES = len(os.sched_getaffinity(0))


def ours() -> tuple[int, float]:
    """The stage's own work: rows read, encoded, cut to no length, and written."""
    encode = BatchEncoder(STYLE, Tokenizer(TOKENIZER))
    started = time.perf_counter()
    counts = in_batches.write_tokens("train", encode, 1 << 30)
    return counts.tokens - counts.rows, time.perf_counter() - started


def texts() -> list[str]:
    """Prompt and response of each row, in main memory."""
    return [text for row in examples("train") for text in (STYLE.prompt(row.instruction, row.input), row.output)]


def tiktoken() -> tuple[int, float]:
    """The call of tiktoken for many texts, with a thread a core; no file is read or written."""
    encoding = Tokenizer(TOKENIZER).encoding
    given = texts()
    started = time.perf_counter()
    found = encoding.encode_ordinary_batch(given, num_threads=CORES)
    return sum(map(len, found)), time.perf_counter() - started


def datasets() -> tuple[int, float]:
    """`datasets.map` with transformers' fast tokenizer, with a process a core; it writes its file, and reads none."""
    from datasets import Dataset  # type: ignore[import-not-found, unused-ignore]
    from transformers import GPT2TokenizerFast

    with tempfile.TemporaryDirectory() as folder:
        Tokenizer(TOKENIZER).save_for_transformers(Path(folder), context=1 << 30)
        fast = GPT2TokenizerFast.from_pretrained(folder)
        table = Dataset.from_dict({"text": texts()})
        started = time.perf_counter()
        made = table.map(
            lambda rows: {"ids": fast(rows["text"])["input_ids"]},
            batched=True,
            num_proc=CORES,
            remove_columns=["text"],
            cache_file_name=str(Path(folder) / "made.arrow"),
        )
        seconds = time.perf_counter() - started
        return sum(map(len, made["ids"])), seconds


def checks() -> tuple[int, float]:
    """The checks of the rows: near duplicates, census, and all that the report has."""
    params = whole.load()
    settings, context = params.split, Context(params.tokenize, Tokenizer(TOKENIZER))
    with tempfile.TemporaryDirectory() as folder:
        rows = Stored(Path(folder) / "rows", (row for split in SPLITS for row in examples(split)))
        started = time.perf_counter()
        duplicates = near.find(rows)
        division = splits.divide(rows, settings, duplicates.near)
        gate.inspect(division, rows, duplicates, take_census(division), settings.checks, context)
        return len(rows), time.perf_counter() - started


CONTENDERS: dict[str, Callable[[], tuple[int, float]]] = {
    "ours": ours,
    "tiktoken": tiktoken,
    "datasets": datasets,
    "checks": checks,
}


def main() -> None:
    """Measure one contender."""
    name, folder, out = sys.argv[1:]
    os.chdir(folder)
    count, seconds = CONTENDERS[name]()
    Path(out).write_text(json.dumps({"count": count, "seconds": seconds}), encoding="utf-8")


if __name__ == "__main__":
    child.run(main)
