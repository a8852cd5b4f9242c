"""A finding, in words and as an exit code."""

from __future__ import annotations

from stages.common.errors import ConfigError, NoSpace
from stages.running.checks.row import NotReady, exit_code, guarded, ok, problem, warning


def test_the_exit_code_is_that_of_the_first_problem():
    rows = [
        ok("a", "fine"),
        warning("b", "old"),
        problem("c", NoSpace("full", "rm x")),
        problem("d", ConfigError("no")),
    ]

    assert exit_code(rows) == 74
    assert exit_code(rows[:2]) == 0


def test_problems_as_an_error():
    error = NotReady([problem("c", NoSpace("full", "rm x")), problem("d", ConfigError("no"))], "or else")

    assert str(error) == "c: full\n  to fix it: rm x\nd: no\n  or else"
    assert error.exit_code == 74


def test_what_a_check_raises_becomes_a_row():
    def wrong():
        yield ok("a", "fine")
        raise ConfigError("not so", "so")

    def broken():
        yield ok("a", "fine")
        raise KeyError("x")

    assert [(row.state, row.exit_code) for row in guarded("b", wrong)] == [("ok", 0), ("problem", 78)]
    assert [(row.state, row.found) for row in guarded("b", broken)][1] == (
        "warning",
        "could not be checked: KeyError: 'x'",
    )
