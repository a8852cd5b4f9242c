"""Turn every row of the splits into token ids: those of its prompt, then those of its response.

Reads artifacts/split/*.jsonl and the tokenizer. Writes artifacts/tokenize/{train,test,val}.jsonl, format.json (how the
ids were made) and metrics.json (how many tokens each split has, and which rows were too long).

With --show ROW it writes nothing, and prints the tokens of a row with their labels.
"""

from __future__ import annotations

import sys

from stages.common.errors import ConfigError
from stages.common.files import write_json
from stages.common.metrics.tokenize import TokenizeMetrics
from stages.common.plurals import counted
from stages.common.records import read_records, write_metrics, write_records
from stages.common.results.download import TOKENIZER
from stages.common.results.split import SPLITS, Example, split_file
from stages.common.results.tokenize import TOKENS_FORMAT, TOKENS_METRICS, tokens_file
from stages.gpt2.tokenizer import Tokenizer
from stages.params.tokenize import Tokenize
from stages.running import program
from stages.running.console import say
from stages.tokenize import show
from stages.tokenize.counts import count, describe
from stages.tokenize.encoding import Format, cut_rows, encode
from stages.tokenize.styles import STYLES


def main() -> None:
    """Run the stage."""
    settings = program.section(Tokenize)
    tokenizer, style = Tokenizer(TOKENIZER), STYLES[settings.prompt_style]
    counts = {}
    for split in SPLITS:
        examples = read_records(split_file(split), Example, made_by="dvc repro split")
        whole = [encode(example, style, tokenizer) for example in examples]
        # Test prompts are not cut: the stage generate tells which of them leave no room for an answer.
        rows = whole if split == "test" else cut_rows(whole, settings.context_length)
        if not rows:
            raise ConfigError(
                f"{split_file(split)}: no row has a prompt shorter than {counted(settings.context_length, 'token')}",
                "raise tokenize.context_length in params.yaml",
            )
        write_records(tokens_file(split), rows)
        counts[split] = count(whole, rows, settings.context_length)
        say(f"{split}: {describe(counts[split])}")
    write_json(TOKENS_FORMAT, Format(style=style, loss_on=settings.loss_on).model_dump())
    write_metrics(TOKENS_METRICS, TokenizeMetrics(**counts))


if __name__ == "__main__":
    if "--show" in (argument.partition("=")[0] for argument in sys.argv[1:]):
        program.run("show", show.main)
    program.run("tokenize", main)
