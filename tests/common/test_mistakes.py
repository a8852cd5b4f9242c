"""What is said of a value that pydantic refuses: our words for every error that it has."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal, get_args

import pytest
from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import core_schema

from stages.common import mistakes

#: Words of pydantic's own messages that no message of ours has.
THEIRS = ("Input", "should", "unable to parse", "validation", "Value error")


class Colour(Enum):
    """Two names."""

    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (int, "many", "expected a whole number; found 'many'"),
        (int, "1" * 5000, f"expected a whole number of fewer digits; found '{'1' * 59}…"),
        (float, "warm", "expected a number; found 'warm'"),
        (bool, "maybe", "expected true or false; found 'maybe'"),
        (list[int], "a", "expected a list; found 'a'"),
        (Annotated[list[int], Field(max_length=2)], [1, 2, 3], "expected a length of 2 or less; found [1, 2, 3]"),
        (Annotated[str, Field(max_length=2)], "abc", "expected a length of 2 or less; found 'abc'"),
        (Literal["a", "b"], "c", "expected 'a' or 'b'; found 'c'"),
        (Colour, "green", "expected 'red' or 'blue'; found 'green'"),
        (str, b"\xff", "expected a text of whole characters, without half a surrogate pair; found \"b'\\\\xff'\""),
    ],
)
def test_a_value_that_is_refused_is_told_in_our_words(kind, value, message):
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(value)

    assert mistakes.describe(caught.value.errors()[0]) == message


@pytest.mark.parametrize("kind", get_args(core_schema.ErrorType))
def test_no_error_is_told_in_pydantic_s_words(kind):
    context = dict.fromkeys(
        ("gt", "ge", "lt", "le", "expected", "pattern", "min_length", "max_length", "error", "field_type"), "x"
    )
    problem = {"type": kind, "loc": (), "msg": "Input should be a valid thing", "input": 1, "ctx": context}
    if kind == "value_error":  # raised by a check of ours
        problem["msg"] = "Value error, expected more"

    said = mistakes.describe(problem)

    assert not any(word in said for word in THEIRS), said
