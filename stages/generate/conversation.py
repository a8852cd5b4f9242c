"""A conversation at the terminal with a trained model: a line is an instruction, its answer comes as it is made.

`python -m flows.chat` finds the model and starts this. Every line is answered for itself: the model was trained on
single instructions, so earlier lines are not put before it.
"""

from __future__ import annotations

import argparse
import string
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TextIO

import torch
from pydantic import TypeAdapter, ValidationError

from stages.common.errors import ConfigError, DataError
from stages.common.files import read_text
from stages.common.records import StopReason
from stages.common.results.finetune import TUNED_MODEL
from stages.generate import answering
from stages.gpt2 import decoding, runtime
from stages.gpt2.model import GPT2
from stages.gpt2.tokenizer import END_OF_TEXT, Tokenizer
from stages.params.generate import Generate
from stages.running import gpu, program
from stages.running.console import say
from stages.running.signals import Interrupted
from stages.tokenize.encoding import Encoder
from stages.tokenize.prompt import STYLE_FILE, PromptStyle, load_style

#: What a byte sequence that is not UTF-8, such as the beginning of a character, is decoded to.
REPLACEMENT = "\ufffd"
#: A line that begins with this word holds the input of the next instruction.
INPUT = "/input"
HOW = f"A line is an instruction; {INPUT} TEXT before it is its input; \\ at a line's end goes on in the next."


def main() -> None:
    """Load the model that the arguments name, and talk until the input ends."""
    options = parser().parse_args()
    if options.temperature == 0 and (options.top_k or options.top_p):
        raise ConfigError("--top-k and --top-p change nothing at temperature 0", "give --temperature too")
    folder: Path = options.model
    another = f"--model FOLDER with one that the stage finetune has written, such as {TUNED_MODEL}"
    if folder != TUNED_MODEL and not (folder / STYLE_FILE).is_file():
        raise ConfigError(
            f"{folder}: no {STYLE_FILE}: in which words this model expects an instruction is not known", another
        )
    made_by = "dvc repro --force finetune" if folder == TUNED_MODEL else another
    style = load_style(folder, made_by=made_by)
    if options.input and (options.input.is_dir() or not options.input.exists()):
        raise ConfigError(f"--input {options.input}: no such file", "--input with a text file")
    options.input = read_text(options.input, made_by="--input with a text file").strip() if options.input else ""
    with gpu.lease():
        device = runtime.prepare()
        tokenizer = Tokenizer(folder, made_by=made_by)
        model = answering.load(folder, made_by=made_by, dtype=torch.float32, device=device)
        if sys.stdin.isatty():
            say(f"{folder}, prompt style {style.name}. {HOW} Ctrl-D ends.")
        try:
            talk(model, tokenizer, style, options, decoded(sys.stdin.buffer), sys.stdout)
        except Interrupted:
            say("")


def parser() -> argparse.ArgumentParser:
    """The arguments of `python -m flows.chat`."""
    made = argparse.ArgumentParser(
        prog="python -m flows.chat", description=f"{__doc__.splitlines()[0]} {HOW}", allow_abbrev=False
    )
    made.add_argument(
        "--model",
        type=Path,
        default=TUNED_MODEL,
        help="a model folder, or an MLflow run's id or name (default: %(default)s)",
    )
    made.add_argument("--input", type=Path, metavar="FILE", help="a text that is the input of every instruction")
    made.add_argument(
        "--max-new-tokens",
        type=bounded("max_new_tokens"),
        default=256,
        metavar="N",
        help="the longest answer in tokens (default: %(default)s)",
    )
    made.add_argument(
        "--temperature",
        type=bounded("temperature"),
        default=0.0,
        metavar="X",
        help="0 takes the likeliest token (default: %(default)s)",
    )
    made.add_argument("--top-k", type=bounded("top_k"), metavar="N", help="draw from so many likeliest tokens")
    made.add_argument(
        "--top-p", type=bounded("top_p"), metavar="X", help="draw from the fewest whose probabilities sum to this"
    )
    made.add_argument(
        "--seed", type=bounded("seed"), default=123, metavar="N", help="of the draws (default: %(default)s)"
    )
    return made


def bounded(name: str) -> Callable[[str], Any]:
    """A type for argparse with the bounds that params.yaml has for ``generate.NAME``."""
    field = Generate.model_fields[name]
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]

    def parse(text: str) -> Any:
        try:
            return adapter.validate_python(text)
        except ValidationError as error:
            raise argparse.ArgumentTypeError(f"{error.errors()[0]['msg']}, found {text}") from None

    return parse


def talk(
    model: GPT2, tokenizer: Encoder, style: PromptStyle, options: argparse.Namespace, ask: Iterable[str], tell: TextIO
) -> None:
    """Answer every instruction among the lines of ``ask`` on ``tell``."""
    sampling = answering.sampling(options.temperature, options.top_k, options.top_p)
    endings = {"max_new_tokens": " … (--max-new-tokens)", "context": " … (the model's context is full)"}
    context = model.config.n_positions
    for number, (instruction, input) in enumerate(instructions(prompted(ask, tell), options.input)):
        ids = tokenizer.encode(style.prompt(instruction, input))
        if len(ids) >= context:
            message = f"(not answered: with its prompt it takes {len(ids):,} tokens; there is room for {context - 1:,})"
            print(message, file=tell, flush=True)
            continue
        made = decoding.tokens(
            model,
            [ids],
            max_new_tokens=options.max_new_tokens,
            end_of_text=END_OF_TEXT,
            batch_size=1,
            sampling=sampling,
            seeds=[runtime.seed_for(options.seed, "chat", number)],
        )
        reason = None
        for piece, reason in pieces(made, tokenizer):  # noqa: B007
            print(piece, end="", file=tell, flush=True)
        print(endings.get(reason or "", ""), file=tell, flush=True)


def decoded(lines: Iterable[bytes]) -> Iterator[str]:
    """Lines as text.

    Raises:
        DataError: one is not UTF-8. Those before it have been given.
    """
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            what = f"standard input, line {number}: not UTF-8 ({error.reason} at byte {error.start})"
            raise DataError(what, "pipe it through iconv -f ITS-ENCODING -t UTF-8") from None


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


def instructions(lines: Iterable[str], input: str) -> Iterator[tuple[str, str]]:
    r"""The instructions among lines, each with its input; blank lines are none.

    ``/input TEXT`` is the input of the next instruction, in place of ``input``; without TEXT it has none. A line that
    ends in a backslash goes on in the next: the lines ``/input one\``, ``two``, ``Sort it.`` are one instruction.
    """
    given = input
    for text in joined(lines):
        if text.split(maxsplit=1)[:1] == [INPUT]:
            given = text.strip().removeprefix(INPUT).strip()
        elif text.strip():
            yield text.strip(), given
            given = input


def joined(lines: Iterable[str]) -> Iterator[str]:
    """Lines without their ends, those that end in a backslash with the next ones behind them."""
    begun = ""
    for line in lines:
        line = line.rstrip("\r\n")
        if line.endswith("\\"):
            begun += f"{line[:-1]}\n"
        else:
            yield begun + line
            begun = ""
    yield begun


def pieces(made: Iterable[decoding.Token], tokenizer: Encoder) -> Iterator[tuple[str, StopReason | None]]:
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
