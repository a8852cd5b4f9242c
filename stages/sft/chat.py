"""A conversation at the terminal with a trained model: a line is an instruction, its answer comes as it is made.

`python -m flows.chat` finds the model and starts this. Every line is answered for itself: the model was trained on
single instructions, so earlier lines are not put before it.
"""

from __future__ import annotations

import argparse
import string
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from stages.common import gpu, paths, program
from stages.common.console import say
from stages.common.errors import ConfigError, DataError
from stages.common.signals import Interrupted
from stages.gpt2 import decoding, runtime
from stages.gpt2.model import GPT2
from stages.gpt2.tokenizer import END_OF_TEXT, Tokenizer
from stages.sft import answering
from stages.sft.encoding import Encoder
from stages.sft.prompt import STYLE_FILE, PromptStyle, load_style

#: What a byte sequence that is not UTF-8, such as the beginning of a character, is decoded to.
REPLACEMENT = "\ufffd"


def main() -> None:
    """Load the model that the arguments name, and talk until the input ends."""
    options = parser().parse_args()
    if options.temperature == 0 and (options.top_k or options.top_p):
        raise ConfigError("--top-k and --top-p change nothing at temperature 0", "give --temperature too")
    folder: Path = options.model
    if not (folder / STYLE_FILE).is_file():
        raise DataError(
            f"{folder}: no {STYLE_FILE}: in which words this model expects an instruction is not known",
            f"--model FOLDER with one that the stage finetune has written, such as {paths.TUNED_MODEL}",
        )
    style = load_style(folder, made_by="dvc repro --force finetune")
    with gpu.lease():
        tokenizer = Tokenizer(folder)
        model = answering.load(folder, made_by="dvc repro --force finetune", precision="fp32")
        if sys.stdin.isatty():
            say(f"{folder}, prompt style {style.name}. A line is an instruction; Ctrl-D ends.")
        try:
            talk(model, tokenizer, style, options, sys.stdin, sys.stdout)
        except Interrupted:
            say("")


def parser() -> argparse.ArgumentParser:
    """The arguments of `python -m flows.chat`."""
    made = argparse.ArgumentParser(prog="python -m flows.chat", description=__doc__.splitlines()[0])
    made.add_argument("--model", type=Path, required=True, help="a model folder, or an MLflow run's id or name")
    made.add_argument("--max-new-tokens", type=int, default=256, help="the longest answer in tokens")
    made.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest token")
    made.add_argument("--top-k", type=int, help="draw from so many likeliest tokens")
    made.add_argument("--top-p", type=float, help="draw from the fewest whose probabilities sum to this")
    made.add_argument("--seed", type=int, default=123, help="of the draws")
    return made


def talk(
    model: GPT2, tokenizer: Encoder, style: PromptStyle, options: argparse.Namespace, ask: Iterable[str], tell: TextIO
) -> None:
    """Answer every line of ``ask`` on ``tell``, a blank one with nothing."""
    sampling = None
    if options.temperature > 0:
        sampling = decoding.Sampling(options.temperature, options.top_k, options.top_p)
    for number, line in enumerate(prompted(ask, tell)):
        if not (instruction := line.strip()):
            continue
        made = decoding.tokens(
            model,
            [tokenizer.encode(style.prompt(instruction, ""))],
            max_new_tokens=options.max_new_tokens,
            end_of_text=END_OF_TEXT,
            batch_size=1,
            sampling=sampling,
            seeds=[runtime.seed_for(options.seed, "chat", number)],
        )
        reason = None
        for piece, reason in pieces(made, tokenizer):  # noqa: B007
            print(piece, end="", file=tell, flush=True)
        ending = {"max_new_tokens": " … (--max-new-tokens)", "context": " … (the model's context is full)"}
        print(ending.get(reason or "", ""), file=tell, flush=True)


def prompted(ask: Iterable[str], tell: TextIO) -> Iterator[str]:
    """The lines, each asked for where a person gives them."""
    lines = iter(ask)
    while True:
        if tell.isatty():
            print("> ", end="", file=tell, flush=True)
        line = next(lines, None)
        if line is None:
            return
        yield line


def pieces(made: Iterable[decoding.Token], tokenizer: Encoder) -> Iterator[tuple[str, decoding.StopReason | None]]:
    """An answer's text as it grows, in all that of `answer_text`; a character comes when all its bytes are there."""
    ids: list[int] = []
    shown = 0
    for token in made:
        if token.id is not None and token.id != END_OF_TEXT:
            ids.append(token.id)
        text = tokenizer.decode(ids).lstrip()
        whole = text.rstrip() if token.stop_reason else text.rstrip(string.whitespace + REPLACEMENT)
        yield whole[shown:], token.stop_reason
        shown = max(shown, len(whole))


if __name__ == "__main__":
    program.run("chat", main)
