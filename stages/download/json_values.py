"""JSON as data has it: objects remember keys that were given twice, and a mistake is said by line and column."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any


class Object(dict[str, Any]):
    """A JSON object that remembers which of its keys were given more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated: list[str] = []
        if len(self) < len(pairs):
            self.repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]


def parse(text: str, line: int | None = None) -> tuple[Any, str | None]:
    """A JSON text as (value, None), or as (None, what is wrong with it).

    Args:
        text: the JSON.
        line: number of the text's only line in its file, from 1; None: the text is the whole file.
    """
    try:
        return json.loads(text, object_pairs_hook=Object), None
    except json.JSONDecodeError as error:
        where = f"line {line or error.lineno}, column {error.colno}"
        return None, f"not valid JSON at {where}: {error.msg.removesuffix(' at')}"
    except RecursionError:
        return None, _TOO_DEEP
    except ValueError:
        return None, _TOO_LONG


def may_begin(text: str) -> bool:
    """Whether a text may be the first lines of JSON: it is right up to its end, and that is not within a word.

    >>> may_begin('{"a": 1,'), may_begin('{"a": "b')
    (True, False)
    """
    text = text.rstrip()
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos == len(text)
    except (RecursionError, ValueError):
        return False
    return True


class ListReader:
    """Reads a JSON list value by value, so that a list of any length takes the memory of its longest value.

    Args:
        stream: the text; what is before the list may be white space alone.

    Attributes:
        broken: once all values were given, what is wrong with the list behind them; None if nothing is.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.broken: str | None = None
        self._stream = stream
        self._text = ""
        self._at = 0
        #: Of what was read and let go: the number of its lines, and the number of characters of the last one.
        self._lines, self._columns = 0, 0
        self._ended = False

    def __iter__(self) -> Iterator[Any]:
        """The values, up to the first place where something is wrong."""
        self._next()
        self._at += 1
        if self._next() == "]":
            self._end()
            return
        while True:
            self._next()
            value = self._value()
            if self.broken:
                return
            yield value
            follows = self._next()
            if follows not in ("]", ","):
                self.broken = self._mistake("Expecting ',' delimiter", self._at)
                return
            if follows == "]":
                self._end()
                return
            self._at += 1

    def _end(self) -> None:
        self._at += 1
        if self._next():
            self.broken = self._mistake("Extra data", self._at)

    def _next(self) -> str:
        """The next character that is no white space; empty at the end of the text."""
        while True:
            while self._at < len(self._text):
                if (found := self._text[self._at]) not in " \t\n\r":
                    return found
                self._at += 1
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Read further text, as much as there is of the value so far, and let go what is before it."""
        if self._ended:
            return False
        gone, left = self._text[: self._at], self._text[self._at :]
        breaks = gone.count("\n")
        self._columns = len(gone) - gone.rfind("\n") - 1 if breaks else self._columns + len(gone)
        self._lines += breaks
        read = self._stream.read(max(_CHUNK, len(left)))
        self._ended = not read
        self._text, self._at = left + read, 0
        return not self._ended

    def _value(self) -> Any:
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # A text that goes on is not finished yet; neither is what breaks off at the end of what was read.
                begun = error.msg.startswith("Unterminated string") or error.pos > len(self._text) - _LONGEST_TOKEN
                if begun and not self._ended:
                    self._more()
                    continue
                self.broken = self._mistake(error.msg, error.pos)
                return None
            except RecursionError:
                self.broken = _TOO_DEEP
                return None
            except ValueError:
                self.broken = _TOO_LONG
                return None
            if end == len(self._text) and not self._ended:  # a number at the end may have further digits
                self._more()
                continue
            self._at = end
            return value

    def _mistake(self, what: str, at: int) -> str:
        before = self._text[:at]
        breaks = before.count("\n")
        column = at - before.rfind("\n") if breaks else self._columns + at + 1
        return f"not valid JSON at line {self._lines + breaks + 1}, column {column}: {what.removesuffix(' at')}"


#: Characters that are read at a time, and those of the longest name or escape of JSON but for texts and numbers.
_CHUNK = 1 << 20
_LONGEST_TOKEN = 16
_DECODER = json.JSONDecoder(object_pairs_hook=Object)
_TOO_DEEP = "not JSON that can be read: lists or objects are nested too deeply"
_TOO_LONG = "not JSON that can be read: a number has thousands of digits"


def repeated_keys(value: Any) -> list[str]:
    """The keys that are given more than once, with those above them, at any depth of a value: ``meta.source``."""
    found: list[str] = []
    left = [("", value)]
    while left:  # no recursion: a value may be nested as deeply as the parser allows
        path, inner = left.pop()
        if isinstance(inner, Object):
            found += [path + key for key in inner.repeated]
            left += [(f"{path}{key}.", item) for key, item in inner.items()]
        elif isinstance(inner, list):
            left += [(f"{path}{number}.", item) for number, item in enumerate(inner, 1)]
    return found
