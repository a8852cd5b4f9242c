"""The command line of a program: a mistake in it is a message of ours, with exit code 78 and no usage before it."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable
from typing import Any, NoReturn

from stages.common.errors import ConfigError

#: The longest number that is read, in digits: a seed has 19. Python itself refuses thousands of them.
_DIGITS = 20


class Parser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` that raises where that would print its usage and end the program with 2.

    Options may not be shortened: a new option would give a shortened one another meaning.
    """

    def __init__(self, **named: Any) -> None:
        super().__init__(allow_abbrev=False, **named)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Args:
            message: what argparse finds wrong.

        Raises:
            ConfigError: always.
        """
        what = message.removeprefix("argument ").replace("the following arguments are required:", "missing:")
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            options = [option for action in self._actions for option in action.option_strings]
            # The arguments are joined by spaces, so that only empty ones and blanks leave no word.
            first = next(iter(unknown.split()), "")
            near = difflib.get_close_matches(first.split("=")[0], options, n=1)
            shown = unknown if first else "an empty argument"
            what = f"unexpected: {shown}" + (f"; did you mean {near[0]}?" if near else "")
        raise ConfigError(what, f"{self.prog} --help tells what it takes")


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of an argument that is a whole number.

    Args:
        least: the smallest that is taken, 0 or more.
        most: the largest; None for no bound.
    """
    wanted = f"of at least {least}" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        read = int(text) if text.isdecimal() and len(text) <= _DIGITS else -1
        if read < least or (most is not None and read > most):
            raise argparse.ArgumentTypeError(f"expected a whole number {wanted}, found {text!r}")
        return read

    return parse
