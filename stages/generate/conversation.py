"""A conversation with a trained model at the terminal: each line is an instruction, answered token by token.

`python -m flows.chat` finds the model and starts this. The model was trained on single instructions, so that earlier
lines are no part of a line's prompt.
"""

from __future__ import annotations

import argparse
import string
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO

import torch
from pydantic import TypeAdapter, ValidationError

from stages.common import mistakes, paths
from stages.common.errors import ConfigError, DataError
from stages.common.files import read_text
from stages.common.printable import printable
from stages.common.records import StopReason
from stages.common.results.finetune import TUNED_MODEL
from stages.generate import answering, kv_memory
from stages.generate.instructions import HELP, HELP_COMMAND, INPUT, Lines, Reply, lines_of, read
from stages.generate.terminal import HISTORY, Terminal
from stages.gpt2 import decoding, prepacked, runtime, weights
from stages.gpt2.inference import Network
from stages.gpt2.tokenizer import END_OF_TEXT, Tokenizer
from stages.params.generate import Generate
from stages.prompts.encoding import Encoder
from stages.prompts.prompt import STYLE_FILE, PromptStyle, load_style
from stages.running import gpu, out_of_memory, program
from stages.running.arguments import Parser
from stages.running.console import say
from stages.running.signals import Interrupted, deferred_interruption

#: What bytes that are not UTF-8 are decoded to, such as the first ones of a character.
REPLACEMENT = "\ufffd"
_SHORTER = "lower --max-new-tokens, or end what else uses this memory"
HOW = f"A line is an instruction; {INPUT} TEXT before it is its input; {HELP_COMMAND} tells more."


@dataclass(frozen=True)
class Options:
    """What the arguments of the program say, see `parser`; ``input`` is the text of the file."""

    model: Path
    input: str
    max_new_tokens: int
    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int

    @classmethod
    def of(cls, arguments: Sequence[str] | None = None) -> Options:
        """The options of a command line, by default that of this process.

        Raises:
            ConfigError: options contradict one another, or a file does not exist.
            DataError: a file is not UTF-8.
        """
        given = parser().parse_args(arguments)
        given.input = _text_of(given.input)
        options = cls(**vars(given))
        if options.temperature == 0 and (options.top_k or options.top_p):
            raise ConfigError("--top-k and --top-p change nothing at temperature 0", "give --temperature too")
        return options


def main() -> None:
    """Load the model that the arguments name, and answer until the input ends."""
    options = Options.of()
    folder = options.model
    another = f"--model FOLDER with one that the stage finetune has written, such as {TUNED_MODEL}"
    if folder != TUNED_MODEL and not (folder / STYLE_FILE).is_file():
        raise ConfigError(f"{folder}: no {STYLE_FILE}: the prompt style of this model is not known", another)
    made_by = "dvc repro --force finetune" if folder == TUNED_MODEL else another
    style = load_style(folder, made_by=made_by)
    with gpu.lease():
        device = runtime.prepare()
        tokenizer = Tokenizer(folder, made_by=made_by)
        sizes = weights.read_config(folder / weights.CONFIG, made_by=made_by)
        with kv_memory.no_room_for_model_explained(sizes.parameters, folder, bf16=False):
            layout = prepacked.layout_for(torch.float32, device, sizes.n_embd, rows=1)
            model = answering.load(folder, made_by=made_by, dtype=torch.float32, device=device, layout=layout)
        at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        lines = lines_of(decoded(sys.stdin.buffer))
        if at_terminal:
            say(f"{folder}, prompt style {style.name}. {HOW} Ctrl-D ends.")
            # Elsewhere than in a project's folder nothing is kept.
            lines = Terminal(HISTORY if paths.PARAMS.exists() else None)
        with out_of_memory.explained(lambda: ("besides the model there is no room for an answer", _SHORTER)):
            talk(model, tokenizer, style, options, lines, sys.stdout, at_terminal=at_terminal)


def _text_of(path: Path | None) -> str:
    """The text of a file, without white space around it; empty without a file."""
    if path is None:
        return ""
    if path.is_dir() or not path.exists():
        raise ConfigError(f"--input {path}: no such file", "--input with a text file")
    return read_text(path, made_by="--input with a text file").strip()


def parser() -> argparse.ArgumentParser:
    """The arguments of `python -m flows.chat`."""
    made = Parser(
        prog="python -m flows.chat",
        description=__doc__.splitlines()[0],
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--model",
        type=Path,
        default=TUNED_MODEL,
        help="a model folder, or an MLflow run's id or name (default: %(default)s)",
    )
    made.add_argument("--input", type=Path, metavar="FILE", help="a text file that is the input of every instruction")
    made.add_argument(
        "--max-new-tokens",
        type=bounded("max_new_tokens"),
        default=256,
        metavar="N",
        help="length of the longest answer in tokens (default: %(default)s)",
    )
    made.add_argument(
        "--temperature",
        type=bounded("temperature"),
        default=0.0,
        metavar="X",
        help="0 takes the most likely token (default: %(default)s)",
    )
    made.add_argument("--top-k", type=bounded("top_k"), metavar="N", help="draw from the N most likely tokens")
    made.add_argument(
        "--top-p", type=bounded("top_p"), metavar="X", help="draw from the fewest whose probabilities sum to X"
    )
    made.add_argument(
        "--seed", type=bounded("seed"), default=123, metavar="N", help="seed of the draws (default: %(default)s)"
    )
    return made


def bounded(name: str) -> Callable[[str], Any]:
    """An argparse type with the bounds that params.yaml has for ``generate.NAME``."""
    field = Generate.model_fields[name]
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]

    def parse(text: str) -> Any:
        try:
            return adapter.validate_python(text)
        except ValidationError as error:
            raise argparse.ArgumentTypeError(mistakes.describe(error.errors()[0])) from None

    return parse


def talk(
    model: Network,
    tokenizer: Encoder,
    style: PromptStyle,
    options: Options,
    ask: Lines,
    tell: TextIO,
    *,
    at_terminal: bool = False,
) -> None:
    """Read lines from ``ask``, and write the answers to their instructions to ``tell``.

    Args:
        model: the model that answers.
        tokenizer: its tokenizer.
        style: its prompt style.
        options: how it answers.
        ask: the lines.
        tell: stream for the answers.
        at_terminal: whether SIGINT, which Ctrl-C sends, stops an answer alone. Elsewhere it stops the program.
    """
    number = 0
    for asked in read(ask, options.input):
        if isinstance(asked, Reply):
            print(printable(asked.text), file=tell, flush=True)
            continue
        seed = runtime.seed_for(options.seed, "chat", number)
        number += 1
        try:
            ending = _answer(model, tokenizer, style.prompt(asked.text, asked.input), options, seed, tell)
        except Interrupted as stop:
            if not at_terminal or str(stop) != "SIGINT":
                raise
            ending = " … (stopped)"
        print(printable(ending), file=tell, flush=True)


def _answer(model: Network, tokenizer: Encoder, prompt: str, options: Options, seed: int, tell: TextIO) -> str:
    """Write the answer to a prompt piece by piece, and return what follows it.

    Raises:
        Interrupted: a signal has come; the tokens so far are written.
    """
    ids = tokenizer.encode(prompt)
    context = model.config.n_positions
    if len(ids) >= context:
        return f"(not answered: its prompt has {len(ids):,} tokens; there is room for {context - 1:,})"
    sampling = answering.sampling(options.temperature, options.top_k, options.top_p)
    how = decoding.Decoding(END_OF_TEXT, options.max_new_tokens, batch_size=1, sampling=sampling)
    reason = None
    with deferred_interruption() as pending:  # not in the middle of a token
        for piece, reason in pieces(decoding.tokens(model, [ids], how, [seed]), tokenizer):  # noqa: B007
            print(printable(piece), end="", file=tell, flush=True)
            pending.raise_if_pending()
    return _ENDINGS.get(reason or "", "")


#: What follows an answer that did not end by itself.
_ENDINGS = {"max_new_tokens": " … (--max-new-tokens)", "context": " … (the model's context is full)"}


def decoded(lines: Iterable[bytes]) -> Iterator[str]:
    """Lines as text.

    Raises:
        DataError: one is not UTF-8; those before it have been yielded.
    """
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            what = f"standard input, line {number}: not UTF-8 ({error.reason} at byte {error.start})"
            raise DataError(what, "pipe it through iconv -f ITS-ENCODING -t UTF-8") from None


def pieces(made: Iterable[decoding.Token], tokenizer: Encoder) -> Iterator[tuple[str, StopReason | None]]:
    """An answer's text piece by piece, in all that of `answer_text`; a character comes when all its bytes are there."""
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
