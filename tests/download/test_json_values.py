"""A JSON list read value by value, beside Python's own reader, for every size of what is read at a time."""

from __future__ import annotations

import io
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.download import json_values
from stages.download.json_values import ListReader, Object, parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def read(text: str, chunk: int) -> tuple[list[Any], str | None]:
    before, json_values._CHUNK = json_values._CHUNK, chunk
    try:
        reader = ListReader(io.StringIO(text))
        return list(reader), reader.broken
    finally:
        json_values._CHUNK = before


@given(values=st.lists(VALUES, max_size=5), chunk=st.integers(1, 40), indent=st.none() | st.integers(0, 2))
def test_a_list_has_the_values_that_python_reads(values: list[Any], chunk: int, indent: int | None) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=False)
    assert read(text, chunk) == (json.loads(text), None)


@given(
    values=st.lists(VALUES, max_size=4),
    chunk=st.integers(1, 40),
    cut=st.integers(0, 200),
    put=st.sampled_from(["", ",", "]", "x", '"', "\\", "\n}", "tru", "\x01", "-"]),
)
def test_what_is_wrong_with_a_list_is_said_as_python_says_it(values: list[Any], chunk: int, cut: int, put: str) -> None:
    whole = json.dumps(values, indent=1, ensure_ascii=False)
    text = whole[: max(cut % (len(whole) + 1), 1)] + put + whole[cut % (len(whole) + 1) + 1 :]
    expected, broken = parse(text)
    found, told = read(text, chunk)
    assert told == broken
    if broken is None:
        assert found == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 100_000, "not JSON that can be read: lists or objects are nested too deeply"),
        (f"[{'1' * 5000}]", "not JSON that can be read: a number has thousands of digits"),
    ],
)
def test_what_python_cannot_read_is_said(text: str, told: str) -> None:
    assert read(text, 1 << 20)[1] == told


def test_keys_that_are_given_twice_are_remembered() -> None:
    (found,), broken = read('[{"a": 1, "a": 2}]', 3)
    assert isinstance(found, Object)
    assert (found, found.repeated, broken) == ({"a": 2}, ["a"], None)


def test_a_long_list_takes_the_memory_of_few_values() -> None:
    text = "[" + ",".join('{"key": "' + "x" * 1000 + '"}' for _ in range(20_000)) + "]"
    stream = io.StringIO(text)
    tracemalloc.start()
    try:
        assert sum(1 for _ in ListReader(stream)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("{", True),
        ('{"a": 1', True),
        ('{"a": 1, \r\n', True),
        ('{"a": [{"b": null},', True),
        ('{"a"', True),
        ('{"a": 1}', True),
        ('{"a": "b', False),
        ('{"a": tr', False),
        ('{"a": 1}}', False),
        ('{"a" 1', False),
        ("{'a'", False),
        ('{"a": ' * 100_000, False),
    ],
)
def test_a_text_may_be_the_lines_that_json_begins_with(text: str, may: bool) -> None:
    assert json_values.may_begin(text) is may
