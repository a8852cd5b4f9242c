"""Answers kept outside DVC's outputs: read window by window, whatever a kill has left."""

from __future__ import annotations

import pytest

from stages.common.errors import DataError
from stages.common.records import Response
from stages.sft.journal import Journal


def response(row: str) -> Response:
    return Response(id=row, model="base", text=f"\n“{row}”\u2028", stop_reason="end_of_text", tokens=3)


@pytest.fixture
def path(tmp_path):
    """A journal of the rows b, a, d: of the windows {a, b} and {c, d}."""
    found = tmp_path / "key" / "base.jsonl"
    with Journal(found) as journal:
        for row in "bad":
            journal.append(response(row))
    return found


def test_answers_are_taken_window_by_window(path):
    with Journal(path) as journal:
        assert journal.take({"a", "b"}) == {"a": response("a"), "b": response("b")}
        assert journal.take({"c", "d"}) == {"d": response("d")}
        journal.append(response("c"))
        journal.skip_to_end()
        assert journal.take({"e"}) == {}
        journal.rewind()
        assert list(journal.take({"a", "b"})) == ["b", "a"]
        assert list(journal.take({"c", "d"})) == ["d", "c"]


def test_a_window_may_be_dropped(path):
    with Journal(path) as journal:
        journal.take({"a", "b"})
        journal.take({"c", "d"})
        journal.untake()
        journal.append(response("c"))
    assert [line[:9] for line in path.read_text().split("\n")[:-1]] == ['{"id":"b"', '{"id":"a"', '{"id":"c"']


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_half_a_line_is_dropped(path, cut):
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with Journal(path) as journal:
        journal.take({"a", "b"})
        assert journal.take({"c", "d"}) == {}
        journal.append(response("d"))
    assert path.read_bytes() == whole


def test_a_line_that_is_no_answer_is_told(path):
    path.write_text("{}\n")
    with Journal(path) as journal, pytest.raises(DataError, match=r"base\.jsonl, byte 0: not an answer") as caught:
        journal.take({"a"})

    assert caught.value.fix == f"rm {path}"
