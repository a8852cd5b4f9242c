"""Instructions, their inputs and commands, read off the lines."""

from __future__ import annotations

import pytest

from stages.generate import instructions
from stages.generate.instructions import HELP, Dropped, Reply


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a\n", "  \n", " b "], [("a", "file"), ("b", "file")]),
        (["/input x y \n", "\n", "a\n", "b\n"], [("a", "x y"), ("b", "file")]),
        (["/input one\\\r\n", "two\r\n", "Sort\\\n", "it.\n"], [("Sort\nit.", "one\ntwo")]),
        (["/input\n", "a\n", " /input is what?\n"], [("a", ""), ("/input is what?", "file")]),
        (["/input x\n", "/input y\n", "a\\\n"], [("a", "y")]),
        (['"""one\n', "\n", "/help me\\\n", 'two"""\n', "a\n"], [("one\n\n/help me\\\ntwo", "file"), ("a", "file")]),
        (['/input """\n', "one\n", 'two"""\n', "Sort."], [("Sort.", "one\ntwo")]),
        (['"""a"""\n', '"""\n', "b"], [("a", "file"), ("b", "file")]),
        (["a\n", "/bye\n", "b\n"], [("a", "file")]),
        (["pasted\nin two lines"], [("pasted\nin two lines", "file")]),
        ([], []),
    ],
)
def test_instructions_and_their_inputs_are_read_off_the_lines(lines, expected):
    assert list(instructions.read(instructions.lines_of(lines), "file")) == expected


def test_an_unknown_command_is_refused_with_those_that_there_are():
    found = list(instructions.read(instructions.lines_of(["/inputs are what?", "/help", "a"]), ""))

    assert found == [
        Reply(
            "(/inputs: no such command; there are /input TEXT, /help, /bye. A space before it makes it an instruction.)"
        ),
        Reply(HELP),
        ("a", ""),
    ]
    assert all(command in HELP for command in ("/help", "/input TEXT", "/bye", "Ctrl-C", '"""'))


def test_what_was_typed_before_ctrl_c_is_forgotten():
    asked = []

    def lines(goes_on: bool) -> str | None:
        asked.append(goes_on)
        given = ["/input x", "half an\\", Dropped(), "whole", None][len(asked) - 1]
        if isinstance(given, Dropped):
            raise given
        return given

    assert list(instructions.read(lines, "file")) == [("whole", "file")]
    assert asked == [False, False, True, False, False], "the prompt of a line that goes on is another"
