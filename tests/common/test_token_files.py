"""Files of token rows: what comes back, what is refused, and what bytes they have."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from stages.common import token_files
from stages.common.errors import DataError
from stages.common.results.tokenize import Encoded
from stages.common.token_files import TokenBatch, TokenRows, lengths_of
from tests.root import ROOT

ROWS = [
    Encoded(id="a", ids=[1, 2, 50256], prompt_length=2),
    Encoded(id="ü-2", ids=[65535, 0], prompt_length=1),
    Encoded(id="c", ids=[7] * 9, prompt_length=8),
]


@pytest.fixture
def path(tmp_path):
    """Three rows in two batches, the second of which has one."""
    token_files.write(tmp_path / "rows.arrow", [TokenBatch.of(ROWS[:2]), TokenBatch.of(ROWS[2:])])
    return tmp_path / "rows.arrow"


def test_rows_come_back_by_number_slice_and_in_order(path):
    rows = TokenRows(path, made_by="x")

    assert (len(rows), list(rows)) == (3, ROWS)
    assert [rows[0], rows[1], rows[2], rows[-1]] == [*ROWS, ROWS[2]]
    assert rows[1:] == ROWS[1:]
    assert [type(one) for one in rows[0].ids] == [int, int, int]
    assert rows.lengths.tolist() == lengths_of(ROWS).tolist() == [3, 2, 9]
    assert rows.prompt_lengths.tolist() == [2, 1, 8]
    with pytest.raises(IndexError):
        rows[3]
    with pytest.raises(IndexError):
        rows[-4]


def test_a_file_without_rows_has_none(tmp_path):
    assert token_files.write(tmp_path / "rows.arrow", []) == 0
    assert list(TokenRows(tmp_path / "rows.arrow", made_by="x")) == []


def test_equal_rows_make_equal_bytes_that_are_these(path):
    """Nothing in the file comes from the machine, the clock or the version of a library."""
    digest = "5d79b9ac95eef0eefb774393dc61c694c4dff8402fccb014e77a143291b49ad2"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    again = (
        "from tests.common.test_token_files import *; import pathlib; "
        f"token_files.write(pathlib.Path({str(path)!r}), [TokenBatch.of(ROWS[:2]), TokenBatch.of(ROWS[2:])])"
    )
    path.unlink()
    subprocess.run([sys.executable, "-c", again], cwd=ROOT, check=True)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert pa.__version__.encode() not in path.read_bytes()


def test_neither_reading_nor_writing_loads_pandas(path):
    code = (
        "import sys; from pathlib import Path\n"
        "from stages.common.token_files import TokenBatch, TokenRows, write\n"
        f"rows = list(TokenRows(Path({str(path)!r}), made_by='x'))\n"
        f"assert write(Path({str(path)!r}), [TokenBatch.of(rows)]) == 3\n"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_row_may_have_any_number_of_tokens_and_none(tmp_path):
    rows = [Encoded(id="long", ids=[1] * 300_000, prompt_length=1), Encoded(id="none", ids=[], prompt_length=0)]
    token_files.write(tmp_path / "rows.arrow", [TokenBatch.of(rows)])

    assert list(TokenRows(tmp_path / "rows.arrow", made_by="x")) == rows


def other_columns(path):
    with pa.ipc.new_file(path, pa.schema([("id", pa.string())])) as writer:
        writer.write_batch(pa.record_batch({"id": ["a"]}))


def offsets_that_fall(path):
    """The end of the first row's ids, 3, becomes a number beyond all ids."""
    found = path.read_bytes()
    wanted = np.array([0, 3, 5], dtype=np.int64).tobytes()
    assert found.count(wanted) == 1
    path.write_bytes(found.replace(wanted, np.array([0, 1 << 40, 5], dtype=np.int64).tobytes()))


def nulls(**columns):
    """A function that writes a file of two rows, of which the second has a null in a column."""

    def written(path):
        schema = pa.schema([field.with_nullable(True) for field in token_files.SCHEMA])
        rows = {"id": ["a", "b"], "ids": [[1], [2]], "prompt_length": [1, 1]} | columns
        arrays = [pa.array(rows[field.name], field.type) for field in schema]
        with pa.ipc.new_file(path, token_files.SCHEMA) as writer:
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=token_files.SCHEMA))

    return written


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b""), "not an Arrow file that can be read"),
        (lambda path: path.write_text('{"id": "a"}\n'), "not an Arrow file that can be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "not an Arrow file that can be read"),
        (offsets_that_fall, "not an Arrow file that can be read"),
        (nulls(id=["a", None]), "column id: expected no nulls, found 1"),
        (nulls(ids=[[1], None]), "column ids: expected no nulls, found 1"),
        (nulls(ids=[[1], [None]]), "column ids: expected no nulls, found 1"),
        (nulls(prompt_length=[None, None]), "column prompt_length: expected no nulls, found 2"),
        (
            other_columns,
            "expected the columns id: string, ids: large_list<item: uint16 not null>, prompt_length: int32",
        ),
    ],
)
def test_another_or_a_damaged_file_is_named_with_the_command_that_makes_it(path, harm, said):
    harm(path)

    with pytest.raises(DataError, match=said) as caught:
        TokenRows(path, made_by="dvc repro tokenize")
    assert str(path) in str(caught.value)
    assert caught.value.fix == "dvc repro tokenize"


def test_a_file_that_cannot_be_finished_leaves_the_old_one(path):
    def batches():
        yield TokenBatch.of(ROWS[:1])
        raise RuntimeError("in the middle")

    before = path.read_bytes()
    with pytest.raises(RuntimeError):
        token_files.write(path, batches())
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["rows.arrow"]


@pytest.mark.parametrize(
    ("context_length", "expected"),
    [(9, [3, 2, 9]), (8, [3, 2]), (3, [3, 2]), (2, [2]), (1, [])],
)
def test_a_batch_is_cut_row_by_row(context_length, expected):
    kept = TokenBatch.of(ROWS).cut(context_length)

    assert kept.lengths.tolist() == expected
    fits = [row for row in ROWS if row.prompt_length < context_length]
    assert kept.names == [row.id for row in fits]
    assert kept.tokens.tolist() == [one for row in fits for one in row.ids[:context_length]]
    assert kept.prompt_lengths.tolist() == [row.prompt_length for row in fits]
