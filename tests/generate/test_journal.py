"""Answers kept outside DVC's outputs: found by their rows, whatever a kill or a full disk has left."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import subprocess
import sys
import threading

import pytest

from stages.common.appended import remove_unless_open
from stages.common.errors import DataError
from stages.common.results.generate import Response
from stages.generate.journal import OTHERS_KEPT, Journal, keep_newest
from tests.root import ROOT


def response(row: str) -> Response:
    return Response(id=row, model="base", text=f"\n“{row}”\u2028", stop_reason="end_of_text", tokens=3)


@pytest.fixture
def path(tmp_path):
    """A journal of the rows b, a, d."""
    found = tmp_path / "key" / "base.jsonl"
    with Journal(found) as journal:
        for row in "bad":
            journal.append(response(row))
    return found


def test_answers_are_found_by_row_also_after_more_have_come(path):
    with Journal(path) as journal:
        assert len(journal) == 3
        assert [row in journal for row in "abcd"] == [True, True, False, True]
        assert journal.get("d") == response("d")
        journal.append(response("c"))
        assert [journal.get(row) for row in "abcd"] == [response(row) for row in "abcd"]
    with Journal(path) as journal:
        assert [journal.get(row) for row in "dcba"] == [response(row) for row in "dcba"]


def test_a_row_without_an_answer_is_told(path):
    with Journal(path) as journal, pytest.raises(DataError, match=r"base\.jsonl: no answer to the row c") as caught:
        journal.get("c")

    assert caught.value.fix == f"rm {path}"


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_half_a_line_is_dropped(path, cut):
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with Journal(path) as journal:
        assert [row in journal for row in "bad"] == [True, True, False]
        journal.append(response("d"))
    assert path.read_bytes() == whole


def test_a_line_that_is_no_answer_is_told_and_the_file_given_back(path):
    path.write_bytes(path.read_bytes().replace(b'"id":"a"', b'"id":7', 1))
    for _ in range(2):
        with pytest.raises(DataError, match=r"base\.jsonl, line 2: not an answer") as caught, Journal(path):
            pass

    assert caught.value.fix == f"rm {path}"


def test_what_a_full_disk_took_of_an_answer_is_taken_back(path):
    whole = path.read_bytes()
    with Journal(path) as journal:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, before[1]))  # room for 20 bytes of the line
        try:
            with pytest.raises(OSError) as caught:  # noqa: PT011, the number is what counts
                journal.append(response("c"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
        assert path.read_bytes() == whole
        assert "c" not in journal
        journal.append(response("c"))
        assert journal.get("c") == response("c")


def test_a_second_process_takes_over_the_answers_of_the_first(path, capsys):
    first = Journal(path).__enter__()
    opened = threading.Event()
    found = []

    def second() -> None:
        with Journal(path) as journal:
            found.append(len(journal))
            opened.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not opened.wait(0.2)
    first.append(response("c"))
    first.__exit__(None, None, None)
    thread.join(10)

    assert found == [4]
    assert "another process gives the same answers" in capsys.readouterr().out


def test_a_second_process_begins_from_scratch_where_the_first_has_removed_its_file(path):
    first = Journal(path).__enter__()
    found = []

    def second() -> None:
        with Journal(path) as journal:
            found.append((len(journal), path.exists()))

    thread = threading.Thread(target=second)
    thread.start()
    thread.join(0.2)
    first.clear()
    first.__exit__(None, None, None)
    thread.join(10)

    assert found == [(0, True)]


HOLD = "import sys; from pathlib import Path; from stages.generate.journal import Journal\n"
HOLD += "with Journal(Path(sys.argv[1])): print('open', flush=True); sys.stdin.read()"


def test_a_journal_is_removed_unless_a_process_has_it_open(path):
    root = ROOT
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline() == b"open\n"
        remove_unless_open(path)
        assert path.exists()
    finally:
        holder.kill()
        holder.communicate()
    remove_unless_open(path)
    assert not path.exists()
    remove_unless_open(path)


def test_the_journals_of_other_runs_used_last_are_kept(path):
    """Eight others, of which one holds no answer and the oldest is open."""
    assert OTHERS_KEPT == 5
    others = [path.with_name(f"base-{number}.jsonl") for number in range(8)]
    for age, other in enumerate(others):
        other.write_text("" if age == 1 else "an answer\n")
        os.utime(other, (1_000_000 - age, 1_000_000 - age))
    path.with_name("tuned-0.jsonl").write_text("of another model")
    with Journal(path) as journal, open(others[7], "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        kept = keep_newest(journal.path, "base*.jsonl")

    assert kept == [others[number] for number in (0, 2, 3, 4, 5, 7)]
    assert sorted(found.name for found in path.parent.iterdir()) == sorted(
        ["base.jsonl", "tuned-0.jsonl", *(found.name for found in kept)]
    )
