"""The dataset reader: what it accepts, and how it names what it does not."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.common.errors import DataError
from stages.download import dataset

GOOD = [{"instruction": f"Say {n}.", "input": "", "output": f"{n}"} for n in range(3)]


def read(content: bytes) -> dataset.Dataset:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        path.write_bytes(content)
        return dataset.read(path, name="rows.json", fix="the fix")


def read_rows(*rows: object) -> dataset.Dataset:
    return read(json.dumps(rows).encode())


def lines(*rows: object) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def refusal(content: bytes) -> str:
    with pytest.raises(DataError) as raised:
        read(content)
    assert raised.value.fix == "the fix"
    return raised.value.what


def test_missing_and_null_fields_get_their_defaults() -> None:
    found = read_rows(
        {"instruction": "a", "output": "b"},
        {"instruction": "a", "input": None, "output": "b", "category": None},
        {"instruction": "a", "input": "c", "output": "b", "category": "d"},
    )
    assert found.rows == [
        {"instruction": "a", "input": "", "output": "b", "category": "uncategorised"},
        {"instruction": "a", "input": "", "output": "b", "category": "uncategorised"},
        {"instruction": "a", "input": "c", "output": "b", "category": "d"},
    ]
    assert [list(row) for row in found.rows] == [list(dataset.FIELDS)] * 3


def test_list_and_lines_are_the_same_rows() -> None:
    expected = read_rows(*GOOD)
    assert read(lines(*GOOD)) == expected
    assert read(lines(*GOOD) + b"\n") == expected
    assert read(lines(*GOOD).replace(b"\n", b"\r\n\r\n")) == expected
    assert read(b"\xef\xbb\xbf" + lines(*GOOD)) == expected
    assert read(b"\xef\xbb\xbf\r\n " + json.dumps(GOOD, indent=2).replace("\n", "\r\n").encode()) == expected


def test_a_line_separator_in_a_string_is_no_end_of_line() -> None:
    rows = [{"instruction": "a\u2028b\x85c", "output": "d"}] * 3
    content = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    assert read(content).rows[0]["instruction"] == "a\u2028b\x85c"


def test_unknown_keys_are_counted_and_left_out() -> None:
    found = read_rows({**GOOD[0], "source": "x", "note": 1}, {**GOOD[1], "source": None}, GOOD[2])
    assert found.unknown == {"note": 1, "source": 2}
    assert found.rows == read_rows(*GOOD).rows


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"output": "b"}, "instruction: expected a text that is not empty; the field is missing"),
        ({"instruction": "a"}, "output: expected a text that is not empty; the field is missing"),
        ({"instruction": "", "output": "b"}, "instruction: expected a text that is not empty; found an empty text"),
        ({"instruction": "a", "output": " \n"}, "output: expected a text that is not empty; found an empty text"),
        ({"instruction": 5, "output": "b"}, "instruction: expected a text that is not empty; found a number, 5"),
        ({"instruction": "a", "output": None}, "output: expected a text that is not empty; found null"),
        ({"instruction": "a", "output": ["b"]}, "output: expected a text that is not empty; found a list, ['b']"),
        ({"instruction": "a", "output": True}, "output: expected a text that is not empty; found a truth value, True"),
        ({"instruction": "a", "output": "b", "input": 0}, "input: expected a text, or nothing; found a number, 0"),
        (
            {"instruction": "a", "output": "b", "category": {}},
            "category: expected a text, or nothing; found an object, {}",
        ),
        (
            {"instruction": "a\ud800", "output": "b"},
            "instruction: expected Unicode text; found half a surrogate pair at character 1",
        ),
        ("text", "expected an object with instruction, output; found the text 'text'"),
        ([], "expected an object with instruction, output; found a list, []"),
        (None, "expected an object with instruction, output; found null"),
    ],
)
def test_a_wrong_row_is_named(row: object, said: str) -> None:
    assert refusal(json.dumps([*GOOD, row]).encode()) == f"rows.json: 1 problem in 4 rows:\n  - row 4: {said}"
    if not isinstance(row, list):
        assert refusal(b"\n" + lines(row, *GOOD)) == f"rows.json: 1 problem in 4 rows:\n  - row 1 (line 2): {said}"


def test_ten_problems_are_listed_and_all_are_counted() -> None:
    told = refusal(json.dumps([{}] * 7).encode()).splitlines()
    assert told[0] == "rows.json: 14 problems in 7 rows:"
    assert len(told) == 12
    assert told[1].startswith("  - row 1: instruction: ")
    assert told[10].startswith("  - row 5: output: ")
    assert told[11] == "  - and 4 more"


@pytest.mark.parametrize("content", [b"", b" \r\n\t", b"\xef\xbb\xbf"])
def test_empty_file(content: bytes) -> None:
    assert refusal(content) == "rows.json: expected rows, found an empty file"


@pytest.mark.parametrize("rows", [[], GOOD[:1], GOOD[:2]])
def test_too_few_rows(rows: list[object]) -> None:
    expected = f"rows.json: expected at least 3 rows, one for each split, found {len(rows)}"
    assert refusal(json.dumps(rows).encode()) == expected
    if rows:
        assert refusal(lines(*rows)) == expected


def test_three_rows_are_enough() -> None:
    assert len(read_rows(*GOOD).rows) == 3


def test_not_utf8() -> None:
    assert refusal(b'[{"a": "\xe9"}]') == "rows.json: not UTF-8 (invalid continuation byte at byte 8)"
    assert refusal("[]".encode("utf-16")).startswith("rows.json: not UTF-8 (invalid start byte at byte 0")


def test_not_json() -> None:
    assert refusal(b'[{"a": 1},\n {"b"}]').startswith("rows.json: not valid JSON at line 2, column ")
    assert refusal(b"[1, 2").startswith("rows.json: not valid JSON at line 1, column ")
    broken = lines(GOOD[0]) + b'\n{"instruction": "a", \n' + lines(GOOD[1])
    assert "row 2 (line 2): not valid JSON at line 2, column " in refusal(broken)
    assert "1 problem in 3 rows" in refusal(broken)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 200_000, "lists or objects are nested too deeply"),
        (b"[" + b"1" * 5000 + b"]", "a number has thousands of digits"),
    ],
)
def test_json_that_python_cannot_hold(content: bytes, said: str) -> None:
    assert refusal(content) == f"rows.json: not JSON that can be read: {said}"


@pytest.mark.parametrize(
    ("row", "keys"),
    [
        ('{"instruction": "a", "output": "b", "output": "c"}', ["'output'"]),
        ('{"instruction": "a", "output": "b", "output": "b"}', ["'output'"]),
        ('{"instruction": "a", "output": "b", "meta": {"by": {"x": 1, "x": 2}}}', ["'meta.by.x'"]),
        ('{"instruction": "a", "output": "b", "meta": [0, {"x": 1, "x": 2}]}', ["'meta.2.x'"]),
        ('{"note": 1, "instruction": "a", "output": "b", "note": 2, "input": "", "input": ""}', ["'note'", "'input'"]),
        (r'{"instruction": "a", "output": "b", "\u001b[2J": 1, "\u001b[2J": 2}', [r"'\x1b[2J'"]),
    ],
)
def test_a_key_given_twice_is_refused_by_row(row: str, keys: list[str]) -> None:
    good = [json.dumps(row) for row in GOOD]
    problems = [f"{key}: expected one value; the key is there twice or more" for key in keys]
    count = "1 problem" if len(keys) == 1 else "2 problems"
    told = refusal(f"[{', '.join([*good, row])}]".encode())
    assert told == "\n  - row 4: ".join([f"rows.json: {count} in 4 rows:", *problems])
    told = refusal("\n\n".join([row, *good]).encode())
    assert told == "\n  - row 1 (line 1): ".join([f"rows.json: {count} in 4 rows:", *problems])


def test_rows_of_another_kind_lack_the_fields() -> None:
    said = (
        "rows.json: 6 problems in 3 rows:\n"
        "  - row {0}: instruction: expected a text that is not empty; the field is missing\n"
        "  - row {0}: output: expected a text that is not empty; the field is missing\n"
        "  - row {1}: instruction: expected a text that is not empty; the field is missing\n"
        "  - row {1}: output: expected a text that is not empty; the field is missing\n"
        "  - row {2}: instruction: expected a text that is not empty; the field is missing\n"
        "  - row {2}: output: expected a text that is not empty; the field is missing"
    )
    rows = [{"question": "a", "answer": "b"}] * 3
    assert refusal(json.dumps(rows).encode()) == said.format("1", "2", "3")
    assert refusal(lines(*rows)) == said.format("1 (line 1)", "2 (line 2)", "3 (line 3)")


def test_one_row_is_not_rows() -> None:
    assert refusal(b"{").startswith("rows.json: 1 problem in 1 row:\n  - row 1 (line 1): not valid JSON")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(dataset.FIELDS) | st.text(), inner),
    max_leaves=12,
)


def check(content: bytes) -> None:
    try:
        found = read(content)
    except DataError:
        return
    assert len(found.rows) >= dataset.FEWEST_ROWS
    for row in found.rows:
        assert tuple(row) == dataset.FIELDS
        assert all(isinstance(value, str) for value in row.values())
        assert row["instruction"].strip()
        assert row["output"].strip()
        json.dumps(row, ensure_ascii=False).encode("utf-8")


@settings(deadline=None)
@given(st.binary())
@example(b"\xff\xfe")
@example(b"{}\n{}\n{}")
def test_bytes_make_rows_or_a_data_error(content: bytes) -> None:
    check(content)


@settings(deadline=None)
@given(st.lists(json_values), st.booleans())
def test_json_makes_rows_or_a_data_error(rows: list[object], as_list: bool) -> None:
    check(json.dumps(rows).encode() if as_list else lines(*rows))


texts = st.text(min_size=1).filter(str.strip)
good_rows = st.fixed_dictionaries({"instruction": texts, "input": st.text(), "output": texts, "category": texts})


@settings(deadline=None)
@given(st.lists(good_rows, min_size=3), st.booleans())
def test_good_rows_come_back_as_they_are(rows: list[dict[str, str]], as_list: bool) -> None:
    assert read(json.dumps(rows).encode() if as_list else lines(*rows)) == dataset.Dataset(rows, {})
