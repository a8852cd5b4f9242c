"""Shows the tokens of a row with their labels: `python -m stages.tokenize --show ROW [--style STYLE]`.

ROW is the id of a row, or the beginning of one that no other has, or SPLIT:NUMBER such as test:1. Nothing is written.
"""

from __future__ import annotations

import itertools
import sys
import textwrap
from collections.abc import Iterator, Sequence

from stages.common.errors import ConfigError
from stages.common.plurals import counted
from stages.common.printable import printable
from stages.common.records import LossOn, read_records
from stages.common.results.download import TOKENIZER
from stages.common.results.split import SPLITS, Example, split_file
from stages.common.results.tokenize import Encoded
from stages.gpt2.tokenizer import Tokenizer
from stages.params.tokenize import Tokenize
from stages.prompts.encoding import Encoder, encode
from stages.prompts.styles import STYLES
from stages.running import program
from stages.running.arguments import Parser
from stages.tokenize.labels import parts, token_text

MADE_BY = "dvc repro split"
_WIDTH = 120
#: The parts of a row that are told apart, and the colour of each on a terminal (ECMA-48, SGR): grey, green and red.
_COLOURS = {"masked": "90", "trained": "32", "cut": "31"}


def main() -> None:
    """Print the tokens of the row that the command line names.

    Raises:
        ConfigError: there is no such row, or more than one.
        DataError: the files of the splits or the tokenizer are missing or broken.
    """
    parser = Parser(prog="python -m stages.tokenize", description=__doc__)
    parser.add_argument("--show", required=True, metavar="ROW", help="id of a row, its beginning, or such as test:1")
    parser.add_argument("--style", choices=sorted(STYLES), help="prompt style; otherwise that of params.yaml")
    given = parser.parse_args()
    settings = program.section(Tokenize)
    split, example = find(given.show)
    style, tokenizer = STYLES[given.style or settings.prompt_style], Tokenizer(TOKENIZER)
    row = encode(example, style, tokenizer)
    # The stage does not cut test rows.
    length = len(row.ids) if split == "test" else settings.context_length
    coloured = sys.stdout.isatty()
    print(printable(f"row {row.id} of {split}, prompt style {style.name}, loss over {settings.loss_on}"))
    # Every token is printable already; what is not are the colours.
    sys.stdout.writelines(f"{line}\n" for line in lines(row, tokenizer, settings.loss_on, length, coloured=coloured))


def find(name: str) -> tuple[str, Example]:
    """The row with this name, and the split that it is in.

    Args:
        name: an id, or the beginning of one that no other has, or SPLIT:NUMBER, where rows count from 1.

    Raises:
        ConfigError: there is no such row, or more than one.
        DataError: a file of a split is missing or broken.
    """
    split, colon, number = name.partition(":")
    if colon:
        place = int(number[:18]) if number.isdecimal() else 0
        if split in SPLITS and place and (row := next(itertools.islice(_rows(split), place - 1, None), None)):
            return split, row
        sizes = ", ".join(f"{one}:1 to {one}:{sum(1 for _ in _rows(one))}" for one in SPLITS)
        raise ConfigError(f"{name}: expected one of {sizes}")
    begins = [(one, row) for one in SPLITS for row in _rows(one) if row.id.startswith(name)]
    named = [pair for pair in begins if pair[1].id == name] or begins
    if len(named) == 1:
        return named[0]
    found = counted(len(named), "row") if named else "no row"
    raise ConfigError(
        f"{name}: expected the id of one row in artifacts/split, or the beginning of it; found {found}",
        "name a row such as test:1, or an id of artifacts/split/report.html",
    )


def _rows(split: str) -> Iterator[Example]:
    return read_records(split_file(split), Example, made_by=MADE_BY)


def lines(row: Encoded, tokenizer: Encoder, loss_on: LossOn, length: int, *, coloured: bool) -> Iterator[str]:
    """Yield the lines about a row: what is masked, what is trained, and what is cut off.

    With one id of each byte, the prompt "ab" and the response "c" give, with loss over the response::

        masked     2 tokens: |a|b|
        trained    2 tokens: |c|<|endoftext|>|

    Args:
        row: the row, not cut.
        tokenizer: what decodes its ids.
        loss_on: what the loss is over.
        length: length of the context in tokens.
        coloured: whether the tokens are in colour.
    """
    of_row = parts(row, loss_on, length)
    for name, ids in of_row.items():
        if ids:
            yield from _part(name, ids, tokenizer, coloured=coloured)
    if not of_row["masked"] and not of_row["trained"]:
        yield f"the prompt alone fills the {length} tokens of tokenize.context_length: the row is dropped"


def _part(name: str, ids: Sequence[int], tokenizer: Encoder, *, coloured: bool) -> Iterator[str]:
    head = f"{name:<8}{counted(len(ids), 'token'):>12}: "
    text = "|" + "".join(f"{token_text(one, tokenizer)}|" for one in ids)
    wrapped = textwrap.wrap(text, _WIDTH - len(head), drop_whitespace=False, break_on_hyphens=False)
    for number, line in enumerate(wrapped):
        tokens = f"\x1b[{_COLOURS[name]}m{line}\x1b[0m" if coloured else line
        yield (head if number == 0 else " " * len(head)) + tokens
