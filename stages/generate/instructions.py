r"""What is typed into a conversation, as instructions: lines, texts of several lines, and commands.

A line is an instruction. It goes on in the next line after a ``\`` at its end, and a text between `QUOTES` may have any
number of lines. What begins with ``/`` is a command: see `HELP`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

#: Around a text of several lines.
QUOTES = '"""'
INPUT, HELP_COMMAND, END = "/input", "/help", "/bye"
HELP = f"""\
{HELP_COMMAND}         shows this
{INPUT} TEXT   gives the next instruction an input; without TEXT it has none
{END}          ends, as Ctrl-D does
A line is an instruction, which is answered by itself. After \\ at a line's end it goes on in the next line.
A text between {QUOTES} and {QUOTES} may have several lines. Ctrl-C stops an answer.
An instruction that begins with / is written with a space before it."""
_COMMANDS = {INPUT: f"{INPUT} TEXT", HELP_COMMAND: HELP_COMMAND, END: END}

#: Gives the next line with or without its line end, and None at the end. It is told whether the line goes on with what
#: came before.
Lines = Callable[[bool], str | None]


class Dropped(Exception):
    """What was typed so far is to be forgotten: Ctrl-C at the prompt."""


class Instruction(NamedTuple):
    """An instruction and its input."""

    text: str
    input: str


class Reply(NamedTuple):
    """What the conversation itself says to a command."""

    text: str


def lines_of(lines: Iterable[str]) -> Lines:
    """Lines that are there already, such as those of a file."""
    iterator = iter(lines)
    return lambda _goes_on: next(iterator, None)


def read(lines: Lines, input: str) -> Iterator[Instruction | Reply]:
    r"""The instructions among lines, each with its input, and the replies to commands. Blank lines are skipped.

    ``/input TEXT`` is the input of the next instruction, instead of ``input``; without TEXT it has none. The lines
    ``/input one\``, ``two``, ``Sort it.`` are one instruction.
    """
    its_input = input
    while True:
        try:
            found = _next(lines)
        except Dropped:
            its_input = input
            continue
        if found is None:
            return
        text, quoted = found
        command = "" if quoted or not text.startswith("/") else text.split(maxsplit=1)[0]
        if command == END:
            return
        if command == HELP_COMMAND:
            yield Reply(HELP)
        elif command == INPUT:
            its_input = _unquoted(text.removeprefix(INPUT).strip())
        elif command:
            known = ", ".join(_COMMANDS.values())
            yield Reply(f"({command}: no such command; there are {known}. A space before it makes it an instruction.)")
        elif text.strip():
            yield Instruction(text.strip(), its_input)
            its_input = input


def _next(lines: Lines) -> tuple[str, bool] | None:
    """The next text, of one line or several, and whether it stood between quotes; None at the end."""
    text = ""
    goes_on = False
    while (line := lines(goes_on)) is not None:
        text += line.rstrip("\r\n")
        goes_on = _is_open(text)
        if goes_on:
            text += "\n"
        elif text.endswith("\\"):
            text = f"{text[:-1]}\n"
            goes_on = True
        else:
            break
    else:
        if not text:
            return None
    text = text.removesuffix("\n") if goes_on else text
    quoted = text.lstrip().startswith(QUOTES)
    return (_unquoted(text.strip()) if quoted else text), quoted


def _is_open(text: str) -> bool:
    """Whether a text begins with quotes, as an instruction or as an input, and lacks those at its end."""
    start = text.removeprefix(INPUT).strip()
    if not start.startswith(QUOTES):
        return False
    return len(start) < 2 * len(QUOTES) or not start.endswith(QUOTES)


def _unquoted(text: str) -> str:
    return text.removeprefix(QUOTES).removesuffix(QUOTES).strip() if text.startswith(QUOTES) else text
