"""tokenize: every row of the splits as token ids, the prompt's and the response's.

Reads artifacts/split/*.jsonl and the tokenizer. Writes artifacts/tokenize/{train,test,val}.jsonl, format.json (how the
ids were made) and metrics.json (how many there are, and which rows were too long).
"""

from __future__ import annotations

from typing import Any

from stages.common.errors import ConfigError
from stages.common.files import write_json
from stages.common.records import read_records, write_records
from stages.common.results.download import TOKENIZER
from stages.common.results.split import SPLITS, Example, split_file
from stages.common.results.tokenize import TOKENS_FORMAT, TOKENS_METRICS, Encoded, tokens_file
from stages.gpt2.tokenizer import Tokenizer
from stages.params.tokenize import Tokenize
from stages.running import program
from stages.running.console import say
from stages.tokenize.encoding import Format, cut, encode
from stages.tokenize.prompt import STYLES


def main() -> None:
    """Run the stage."""
    settings = program.section(Tokenize)
    tokenizer = Tokenizer(TOKENIZER)
    style = STYLES[settings.prompt_style]
    metrics: dict[str, Any] = {}
    for split in SPLITS:
        examples = read_records(split_file(split), Example, made_by="dvc repro split")
        whole = [encode(example, style, tokenizer) for example in examples]
        # Test prompts are not cut: generation itself tells which of them leave no room for an answer.
        rows = (
            whole if split == "test" else [row for row in (cut(row, settings.context_length) for row in whole) if row]
        )
        if not rows:
            raise ConfigError(
                f"{split_file(split)}: no row has a prompt shorter than {settings.context_length} tokens",
                "raise tokenize.context_length in params.yaml",
            )
        write_records(tokens_file(split), rows)
        metrics[split] = measure(whole, rows, settings.context_length)
        say(f"{split}: {describe(metrics[split])}")
    write_json(TOKENS_FORMAT, Format(style=style, loss_on=settings.loss_on).model_dump())
    write_json(TOKENS_METRICS, metrics)


def measure(whole: list[Encoded], kept: list[Encoded], context_length: int) -> dict[str, Any]:
    """Counts over the rows of a split, before and after cutting to the context."""
    kept_ids = {row.id for row in kept}
    return {
        "rows": len(kept),
        "tokens": sum(len(row.ids) for row in kept),
        "prompt_tokens": sum(row.prompt_length for row in kept),
        "longest": max(len(row.ids) for row in whole),
        "over_context": [row.id for row in whole if len(row.ids) > context_length],
        "dropped": [row.id for row in whole if row.id not in kept_ids],
    }


def describe(counts: dict[str, Any]) -> str:
    """One line about a split."""
    line = f"{counts['rows']} rows, {counts['tokens']} tokens, the longest {counts['longest']}"
    if counts["over_context"]:
        line += f"; {len(counts['over_context'])} longer than tokenize.context_length"
    if counts["dropped"]:
        line += f"; {len(counts['dropped'])} dropped, their prompts alone fill it"
    return line


if __name__ == "__main__":
    program.run("tokenize", main)
