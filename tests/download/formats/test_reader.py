"""Every format at the door: what is recognised, what is refused and how, and which rows are left out on request."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.common.errors import ConfigError, DataError
from stages.download import dataset, left_out, source
from stages.download.formats import hard, json_rows, reader
from stages.download.formats.reader import LeftOut
from stages.params.download import DataSource
from stages.prompts.styles import STYLES
from stages.tokenize.leaks import headings
from tests.download.formats.reading import lines, read, refused, row

GOOD = [row("a", "b"), row("c", "d"), row("e", "f")]
CSV = "instruction,output\na,b\nc,d\ne,f\n"


def parquet(path: Path, columns: dict[str, list[Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (CSV, "CSV"),
        (CSV.replace("\n", "\r\n"), "CSV"),
        ("\ufeff" + CSV, "CSV"),
        (CSV.replace(",", "\t"), "TSV"),
        (CSV.replace(",", ";"), "CSV with semicolons"),
        (lines(*GOOD), "JSON lines"),
        (json.dumps(GOOD), "JSON"),
        ("\ufeff" + json.dumps(GOOD, indent=1).replace("\n", "\r\n"), "JSON"),
        (json.dumps({"version": 1, "data": GOOD}), "JSON with its rows in 'data'"),
        (json.dumps({"rows": GOOD}, indent=2), "JSON with its rows in 'rows'"),
    ],
)
def test_the_contents_decide_and_not_the_name(content: str, kind: str) -> None:
    for name in ("rows", "rows.json", "https://host/rows.csv?raw=true"):
        plain, packed = read(content, name), read(gzip.compress(content.encode(), mtime=0), name)
        assert (plain.rows, plain.kind) == (GOOD, kind)
        assert (packed.rows, packed.kind) == (GOOD, f"{kind} in gzip")


def test_parquet(tmp_path: Path) -> None:
    content = parquet(
        tmp_path / "x", {"instruction": ["a", "c", "e"], "output": ["b", "d", "f"], "input": [None, "", None]}
    )
    found = read(content, "rows.parquet")
    assert (found.rows, found.kind, found.named) == (GOOD, "Parquet", ["instruction", "output", "input"])
    assert read(gzip.compress(content, mtime=0)).kind == "Parquet in gzip"

    chats = [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]] * 3
    assert read(parquet(tmp_path / "y", {"messages": chats})).rows == [row("a", "b")] * 3

    nested = parquet(tmp_path / "z", {"instruction": [["a"], ["b"]], "output": [1.5, float("nan")]})
    assert refused(nested).what == (
        "rows.csv: 4 problems in 2 rows:\n"
        "  - row 1: instruction: expected a text that is not empty; found a list, ['a']\n"
        "  - row 1: output: expected a text that is not empty; found a number, 1.5\n"
        "  - row 2: instruction: expected a text that is not empty; found a list, ['b']\n"
        "  - row 2: output: expected a text that is not empty; found a number, nan"
    )
    assert refused(content[:-9]).what.startswith("rows.csv: not a Parquet file that can be read: ")


@pytest.mark.parametrize(
    ("content", "what", "fix"),
    [
        ("", "expected rows, found an empty file", "the fix"),
        (
            CSV.encode("utf-16"),
            "expected UTF-8; found UTF-16",
            "iconv -f UTF-16 -t UTF-8 rows.csv > rows.utf-8.csv; the fix",
        ),
        (CSV.encode("utf-16le"), "expected UTF-8; found UTF-16LE", "iconv -f UTF-16LE "),
        (CSV.encode("utf-16be"), "expected UTF-8; found UTF-16BE", "iconv -f UTF-16BE "),
        (
            CSV.encode() + "été,x\n".encode("cp1252"),
            "not UTF-8 (invalid continuation byte at byte 31, in line 5)",
            "if it is Windows-1252: iconv -f WINDOWS-1252 -t UTF-8 rows.csv > rows.utf-8.csv; the fix",
        ),
        (b"PK\x03\x04", "found a ZIP file, such as an Excel workbook", "unpack it, or save the sheet as CSV in UTF-8"),
        (gzip.compress(CSV.encode(), mtime=0)[:-9], "not a whole gzip file: ", "gzip -t "),
        (
            gzip.compress(gzip.compress(CSV.encode(), mtime=0), mtime=0),
            "found a gzip file within a gzip file",
            "unpack it with gunzip; the",
        ),
        ('{\n "data": [\n  {"instruction": "a"},\n', "rows.csv: not valid JSON at line 4, column 1: ", "the fix"),
        ('{\n "instruction": "a",\n "output": "b"\n}\n', "at least 3 rows, one for each split, found 1", "the fix"),
        (
            gzip.compress(b"<!doctype html>", mtime=0),
            "expected data, found an HTML page",
            "open the address in a browser",
        ),
        (
            gzip.compress(b"version https://git-lfs.github.com/spec/v1\n", mtime=0),
            "found a Git LFS pointer",
            "git lfs pull",
        ),
        (json.dumps({"train": GOOD, "test": GOOD[:1]}), "found 'train' (3 rows), 'test' (1 row)", "write one of them"),
        (
            json.dumps({"instruction": {"0": "a"}, "output": {"0": "b"}}),
            "found columns: 'instruction', 'output'",
            "orient",
        ),
        ('{"a": 1, "data": [{"x": 1}], "data": [{"x": 2}]}', "'data': expected one value; the key is there twice", ""),
        ('instruction,output\n"a"b,c\n', "not valid CSV in the row that begins at line 2: ", "a field with quotation"),
        ('instruction,output\na,b\n"a,c\n', "in the row that begins at line 3: unexpected end of data", ""),
        ("output,output\na,b\n", "column 'output': expected one column of that name; found two or more", "the fix"),
        ("[1, 2", "not valid JSON at line 1, column 6: Expecting ',' delimiter", "the fix"),
        ("instruction,output\na,b\n", "expected at least 3 rows, one for each split, found 1", "the fix"),
    ],
)
def test_what_is_not_read_is_named_with_what_to_do(content: str | bytes, what: str, fix: str) -> None:
    error = refused(content)
    assert isinstance(error, DataError)
    assert what in error.what
    assert error.fix is not None
    assert fix in error.fix


def test_a_text_that_is_no_table_is_shown() -> None:
    error = refused("hello,\x1b world\nand more\n", "notes.txt")
    assert error.what == (
        "notes.txt: expected JSON, JSON lines, CSV, TSV or Parquet, also in gzip; "
        r"found a text that begins with 'hello,\x1b world'"
    )
    assert error.fix == "a table needs a first line with the names of its columns; the fix"
    assert "the rows have 'a b c'" in refused("a b c\nd\n", "rows.csv").what


def test_the_rows_and_lines_of_messages_are_those_of_the_file() -> None:
    content = 'instruction,output,input\n"a\nb",c,\n\nd,e,f,g\nh\n'
    assert refused(content).what == (
        "rows.csv: 2 problems in 3 rows:\n"
        "  - row 2 (line 5): expected 3 columns; found 4; a text with ',' in it stands in quotation marks\n"
        "  - row 3 (line 6): expected 3 columns; found 1"
    )
    error = refused('\n{"instruction": "a", "output": "b", "output": "c"}\n\n{"instruction": "a"}\n{"', "rows.jsonl")
    assert error.what == (
        "rows.jsonl: 3 problems in 3 rows:\n"
        "  - row 1 (line 2): 'output': expected one value; the key is there twice or more\n"
        "  - row 2 (line 4): output: expected a text that is not empty; the field is missing\n"
        "  - row 3 (line 5): not valid JSON at line 5, column 2: Unterminated string starting"
    )
    assert error.fix == "the fix"


@pytest.mark.parametrize(
    "first",
    [
        '{"instruction": "a", "output": "b',  # cut off within a text
        '{"instruction": "a", "output": "b"',  # between two values, as at the end of a line of an object
        '{"instruction": "a" "output": "b"}',
        "{'instruction': 'a', 'output': 'b'}",
        "{",
    ],
)
def test_a_broken_first_line_is_a_row_that_cannot_be_used(first: str) -> None:
    found = read(f"{first}\n{lines(*GOOD)}", "rows.jsonl", on_invalid="drop")
    assert (found.kind, found.rows) == ("JSON lines", GOOD)
    assert [(one.row, one.line) for one in found.left_out] == [(1, 1)]


def test_json_lines_with_a_broken_first_line_are_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "a", "output": "b"\n' + lines(row("a", "b" * 1000)) * 10_000)
    tracemalloc.start()
    try:
        contents = json_rows.read(path, name="rows.jsonl", fix="the fix")
        assert sum(value.broken is not None for value in contents.values) == 1
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "content",
    [
        '{"data": [\n{"instruction": "a", "output": "b"},\n{"instruction": "c", "output": "d"},\n'
        '{"instruction": "e", "output": "f"}]}',
        '{"data":\n[{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "d"}, '
        '{"instruction": "e", "output": "f"}]}\n\n',
        '{"about": "these rows",\r\n\r\n"data": [\r\n{"instruction": "a", "output": "b"},\r\n'
        '{"instruction": "c", "output": "d"}, {"instruction": "e", "output": "f"}]}',
        '{"about":\n{"rows": 3}, "data": [{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "d"}, '
        '{"instruction": "e", "output": "f"}]}',
    ],
)
def test_an_object_may_have_its_line_ends_anywhere(content: str) -> None:
    found = read(content)
    assert (found.kind, found.rows) == ("JSON with its rows in 'data'", GOOD)


@pytest.mark.parametrize("indent", [None, 1])
def test_an_object_that_is_too_large_to_be_read_as_a_whole_is_refused(
    indent: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = json.dumps({"data": GOOD}, indent=indent) + "\n"
    monkeypatch.setattr(json_rows, "LARGEST", len(content))
    assert read(content).rows == GOOD
    monkeypatch.setattr(json_rows, "LARGEST", len(content) - 2)
    error = refused(content)
    assert error.what == (
        f"rows.csv: expected a list of rows or JSON lines in a file of more than {len(content) - 2} bytes; "
        "found an object, which is read as a whole"
    )
    assert error.fix == "write its list of rows alone to a file, as jq .KEY FILE > NEW does; the fix"
    assert read(lines(*GOOD)).rows == GOOD


def test_line_ends_in_a_field_of_a_table_are_line_feeds() -> None:
    assert read('instruction,output\r\n"a\r\nb","c\rd"\r\n' + "x,y\r\n" * 2).rows[0] == row("a\nb", "c\nd")


ALLOWED = "download.data.placeholder_answers: true takes it as an answer"
HARD = [
    ({"output": "a\x00b"}, "output: expected no control characters; found '\\x00' at character 1"),
    ({"instruction": "a\x1b[2J"}, "instruction: expected no control characters; found '\\x1b' at character 1"),
    ({"input": "a\x85"}, "input: expected no control characters; found '\\x85' at character 1"),
    ({"output": "a\ud800"}, "output: expected Unicode text; found half a surrogate pair at character 1"),
    ({"output": "x" * 10_000_000}, "output: expected at most 1,000,000 characters; found 10,000,000"),
    (
        {"output": "Yes.\n### Response:\nNo."},
        "output: expected no markers of a prompt; found '### Response:' at character 5",
    ),
    ({"input": "<|end|>"}, "input: expected no markers of a prompt; found '<|end|>' at character 0"),
    ({"output": " nan "}, "output: expected a text; found the placeholder 'nan'; " + ALLOWED),
    ({"output": "N/A"}, "output: expected a text; found the placeholder 'N/A'; " + ALLOWED),
    (
        {"input": "<noinput>"},
        "input: expected a text; found the placeholder '<noinput>'; download.data.clean: true makes it empty",
    ),
    ({"output": float("nan")}, "output: expected a text that is not empty; found a number, nan"),
    ({"output": {"text": "a"}}, "output: expected a text that is not empty; found an object, {'text': 'a'}"),
    ({"output": " \n"}, "output: expected a text that is not empty; found an empty text"),
]


@pytest.mark.parametrize(("wrong", "said"), HARD)
def test_a_hard_row_is_refused_or_left_out_by_row_and_field(wrong: dict[str, Any], said: str) -> None:
    content = lines(*GOOD[:2], {"id": 7, **GOOD[2], **wrong}, GOOD[2])
    assert refused(content).what == f"rows.csv: 1 problem in 4 rows:\n  - row 3 (line 3): {said}"

    found = read(content, on_invalid="drop")
    assert found.rows == GOOD
    assert found.left_out == [LeftOut(3, 3, "7", [said])]
    assert "left out 1 of 4 rows, which cannot be used: row 3" in list(source.described(found))


def test_texts_that_look_hard_and_are_not() -> None:
    rows = [
        row("N/A", "N/A means not available."),
        row("nan", "Response: yes", "  "),
        row("What is in # Response?", "a\tb\r\nc"),
        row("a", "b"),
    ]
    assert read(json.dumps(rows)).rows == rows


def test_leaving_rows_out_is_proposed_where_most_rows_are_right() -> None:
    way = "on_invalid: drop in the section download.data of params.yaml, or --set download.data.on_invalid=drop"
    for wrong in (row("a", "N/A"), row("a", ""), {"instruction": "a"}, "no object"):
        error = refused(lines(*GOOD, wrong))
        assert "1 problem in 4 rows:\n  - row 4 (line 4): " in error.what
        assert error.fix == f"the fix; or leave this row out: set {way}"
    assert refused(lines(*GOOD, *[row("a", "")] * 2, row("", ""), row("a", "b"))).fix == (
        f"the fix; or leave these 3 rows out: set {way}"
    )
    # Too few are right, or most are wrong.
    assert refused(lines(*GOOD[:2], row("a", ""))).fix == "the fix"
    assert refused(lines(*GOOD, *[row("a", "")] * 4)).fix == "the fix"


def test_when_all_rows_are_of_another_kind_none_is_left_out() -> None:
    assert "did you mean" in refused(lines(*[{"q": "a", "a": "b"}] * 5), on_invalid="drop").what
    error = refused(lines(*GOOD[:2], row("a", "N/A")), on_invalid="drop")
    assert error.what.endswith("at least 3 rows, one for each split, found 2 after 1 row had been left out")


def test_placeholders_in_the_input_become_empty_on_request() -> None:
    content = lines(row("a", "b", "<noinput>"), row("a", "b", "n/a"), row("a", "b", " "), row("a", "b", "None of it"))
    found = read(content, clean=True)
    assert [one["input"] for one in found.rows] == ["", "", "", "None of it"]
    assert found.cleaned == [1, 2, 3]
    assert list(source.described(found)) == ["made the placeholder of 3 inputs empty: row 1, row 2, row 3"]
    assert left_out.report(found, 4) == {
        "rows_of_the_file": 4,
        "rows_of_the_dataset": 4,
        "left_out": {"count": 0, "rows": []},
        "cleaned_inputs": {"count": 3, "rows": [1, 2, 3]},
    }
    assert "placeholder 'N/A'" in refused(lines(*GOOD, row("a", "N/A", "N/A")), clean=True).what


def test_the_lists_of_the_census_and_of_the_styles_are_in_ours() -> None:
    assert headings(STYLES.values()) <= set(hard.MARKERS)


def test_a_mapping_goes_before_what_is_known() -> None:
    rows = [{"instruction": "a", "output": "b", "better": "c", "input": "d", "topic": "e"}] * 3
    found = read(lines(*rows), fields={"output": "better", "category": "topic"})
    assert found.rows == [row("a", "c", "d", "e")] * 3
    assert found.unknown == {"output": 3}
    assert read(lines(*rows), fields={"instruction": "input"}).rows == [row("d", "b")] * 3
    chat = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "topic": "e"}
    assert read(lines(*[chat] * 3), fields={"category": "topic"}).rows == [row("a", "b", "", "e")] * 3


def test_the_problems_of_a_mapped_field_are_told_by_the_user_s_key() -> None:
    content = lines(*[{"question": "a", "answer": "b"}] * 3, {"question": "a", "answer": None})
    error = refused(content, fields={"instruction": "question", "output": "answer"})
    assert error.what.endswith("row 4 (line 4): answer: expected a text that is not empty; found null")


def test_a_key_may_name_the_split_of_a_row() -> None:
    """Whatever else the key is: here it is the category too."""
    rows = lines(*[{"instruction": "a", "output": "b", "part": part} for part in ("train", "test", "dev")])
    found = read(rows, fields={"split": "part", "category": "part"})
    assert found.rows == [row("a", "b", category=part) | {"split": part} for part in ("train", "test", "dev")]
    assert found.unknown == {}
    chat = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "part": "val"}
    assert read(lines(*[chat] * 3), fields={"split": "part"}).rows == [row("a", "b") | {"split": "val"}] * 3


def test_a_row_without_its_split_is_wrong() -> None:
    rows = lines(*[{"instruction": "a", "output": "b", "part": "train"}] * 3, {"instruction": "a", "output": "b"})
    error = refused(rows, fields={"split": "part"})
    assert error.what.endswith("row 4 (line 4): part: expected a text that is not empty; the field is missing")


def test_a_word_for_nothing_is_an_answer_where_it_may_be() -> None:
    rows = lines(*[{"instruction": "Fill in the form.", "output": "N/A"}] * 3)
    assert read(rows, placeholder_answers=True).rows == [row("Fill in the form.", "N/A")] * 3
    chat = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "nan"}]}
    assert read(lines(*[chat] * 3), placeholder_answers=True).rows == [row("a", "nan")] * 3
    assert "found the placeholder 'nan'" in refused(lines(*[chat] * 3)).what


def test_several_files_are_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(lines(*[row("a", "b")] * 2))
    (tmp_path / "b").write_text(lines(row("c", "d"), {"instruction": "e"}))
    settings = DataSource.model_validate({"source": "folder/", "sha256": None, "on_invalid": "drop"})
    found = reader.read([("x/a", tmp_path / "a"), ("x/b", tmp_path / "b")], settings, fix="the fix")
    assert found.rows == [row("a", "b"), row("a", "b"), row("c", "d")]
    assert found.kind == "JSON lines in 2 files"
    assert [(one.file, one.row) for one in found.left_out] == [("x/b", 2)]


KEYS = (
    *("instruction", "output", "input", "context", "response", "prompt", "completion", "category", "instances"),
    *("messages", "conversations", "role", "content", "from", "value"),
    *("message_id", "parent_id", "text", "rank"),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(KEYS) | st.text(st.characters()),
            inner,
        )
    ),
    max_leaves=16,
)
choices = st.fixed_dictionaries({"on_invalid": st.sampled_from(("refuse", "drop")), "clean": st.booleans()})


def check(content: bytes, name: str, options: dict[str, Any]) -> None:
    """Rows that later stages can read, or a message that a terminal can show."""
    try:
        found = read(content, name, **options)
    except (DataError, ConfigError) as error:
        str(error).encode("utf-8")
        return
    assert len(found.rows) >= dataset.FEWEST_ROWS
    for one in found.rows:
        assert dataset.check(one) == (one, [])
    json.dumps(left_out.report(found, len(found.rows)), ensure_ascii=False).encode("utf-8")
    "\n".join(source.described(found)).encode("utf-8")


@settings(deadline=None)
@given(st.binary(), st.sampled_from(("rows.csv", "rows.tsv", "rows")), choices)
@example(b"\x1f\x8b", "rows", {})
@example(b"PAR1", "rows", {})
@example(b"instruction,output\n\x00", "rows.csv", {})
def test_bytes_make_rows_or_an_error(content: bytes, name: str, options: dict[str, Any]) -> None:
    check(content, name, options)


@settings(deadline=None)
@given(st.lists(json_values), st.booleans(), choices)
def test_json_makes_rows_or_an_error(rows: list[object], as_list: bool, options: dict[str, Any]) -> None:
    check((json.dumps(rows) if as_list else lines(*rows)).encode(), "rows", options)


cells = st.text(st.characters(exclude_categories=("Cs", "Cc"))).filter(
    lambda text: bool(text.strip()) and hard.mistake(text) is None
)


@settings(deadline=None)
@given(st.lists(st.tuples(cells, cells), min_size=3), st.sampled_from(",;\t|"), st.sampled_from(("\n", "\r\n")))
def test_good_rows_of_a_table_come_back_as_they_are(rows: list[tuple[str, str]], separator: str, end: str) -> None:
    quoted = [[f'"{text.replace(chr(34), chr(34) * 2)}"' for text in cells] for cells in rows]
    content = end.join(separator.join(cells) for cells in [["instruction", "output"], *quoted])
    assert read(content).rows == [row(*cells) for cells in rows]
