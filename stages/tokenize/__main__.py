"""Turn every row of the splits into token ids: those of its prompt, then those of its response.

Reads artifacts/split/*.jsonl and the tokenizer. Writes artifacts/tokenize/{train,test,val}.arrow, format.json (how the
ids were made), metrics.json (how many tokens each split has, and which rows were too long), and shown.html (some rows
with their labels).

With --show ROW it writes nothing, and prints the tokens of a row with their labels.
"""

from __future__ import annotations

import importlib
import sys

from stages.common.files import atomic_file, write_json
from stages.common.metrics.tokenize import TokenizeMetrics
from stages.common.records import write_metrics
from stages.common.results.download import TOKENIZER
from stages.common.results.split import SPLITS
from stages.common.results.tokenize import TOKENS_FORMAT, TOKENS_METRICS, TOKENS_PAGE
from stages.gpt2.tokenizer import Tokenizer
from stages.params.tokenize import Tokenize
from stages.prompts.encoding import BatchEncoder, Format
from stages.prompts.styles import STYLES
from stages.running import program
from stages.running.console import say
from stages.tokenize import shown
from stages.tokenize.counts import describe
from stages.tokenize.in_batches import examples, write_tokens


def main() -> None:
    """Run the stage."""
    settings = program.section(Tokenize)
    style, tokenizer = STYLES[settings.prompt_style], Tokenizer(TOKENIZER)
    encode, counts = BatchEncoder(style, tokenizer), {}
    for split in SPLITS:
        counts[split] = write_tokens(split, encode, settings.context_length)
        say(f"{split}: {describe(counts[split])}")
    write_json(TOKENS_FORMAT, Format(style=style, loss_on=settings.loss_on).model_dump())
    write_metrics(TOKENS_METRICS, TokenizeMetrics(**counts))
    first = shown.chosen(examples("train"), tokenizer, style, settings.context_length)
    with atomic_file(TOKENS_PAGE) as stream:
        stream.write(shown.page(first, tokenizer, settings))


if __name__ == "__main__":
    if "--show" in (argument.partition("=")[0] for argument in sys.argv[1:]):
        # By name: how a row is shown on a terminal is not among what the stage's outputs depend on.
        program.run("show", importlib.import_module("stages.tokenize.show").main)
    program.run("tokenize", main)
