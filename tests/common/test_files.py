"""Files and folders that are whole or absent, also where their writer is killed."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.common import files
from stages.common.errors import DataError
from tests.root import ROOT

#: Writes a folder over another, and is killed by itself: while it fills the new one, or at a rename that it is about to
#: make or has made.
KILLED = """
import os, signal, sys
from pathlib import Path
from stages.common import files

def die():
    os.kill(os.getpid(), signal.SIGKILL)

when, real = sys.argv[2], os.replace
done = []

def replace(source, target):
    if when == f"before rename {len(done)}":
        die()
    real(source, target)
    done.append(target)
    if when == f"after rename {len(done) - 1}":
        die()

os.replace = replace
with files.atomic_folder(Path(sys.argv[1])) as folder:
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_text("new")
    if when == "while filling":
        die()
die()
"""


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, text=True, **pipes)


def fill(path: Path, text: str) -> None:
    with files.atomic_folder(path) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text(text)


@pytest.mark.parametrize(
    ("when", "text"),
    [
        ("while filling", "old"),
        ("before rename 0", "old"),
        ("before rename 1", "old"),
        ("after rename 1", "new"),
        ("after all", "new"),
    ],
)
def test_a_folder_whose_writer_is_killed_at_any_moment_is_the_old_or_the_new_one(tmp_path, when, text):
    path = tmp_path / "folder"
    fill(path, "old")
    with run(KILLED, path, when) as process:
        process.communicate()
    assert process.returncode == -signal.SIGKILL

    files.sweep(path)

    assert (path / "deep" / "file").read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_gone_at_the_next_writing(tmp_path):
    (tmp_path / ".file.123.tmp").write_text("half")
    (tmp_path / ".folder.123.tmp").mkdir()
    (tmp_path / ".folder.123.tmp" / "file").write_text("half")

    with files.atomic_file(tmp_path / "file") as stream:
        stream.write("whole")
    fill(tmp_path / "folder", "whole")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


#: Fills a folder, and stays in the middle until a line comes.
SLOW = """
import sys
from pathlib import Path
from stages.common import files

with files.atomic_folder(Path(sys.argv[1])) as folder:
    (folder / "file").write_text("slow")
    print("filled", flush=True)
    sys.stdin.readline()
"""


def test_what_a_living_writer_has_begun_is_let_be(tmp_path):
    path = tmp_path / "folder"
    with run(SLOW, path) as process:
        assert process.stdout.readline() == "filled\n"
        files.sweep(path)
        process.communicate("\n")

    assert process.returncode == 0
    assert (path / "file").read_text() == "slow"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_leaves_what_was_there_and_nothing_else(tmp_path):
    fill(tmp_path / "folder", "old")
    for open_one, name in ((files.atomic_folder, "folder"), (files.atomic_file, "file")):
        with pytest.raises(ZeroDivisionError), open_one(tmp_path / name):
            raise ZeroDivisionError

    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "deep", "file"]


def test_writing_works_where_there_are_no_locks(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    (tmp_path / ".folder.123.tmp").mkdir()

    fill(tmp_path / "folder", "whole")

    # Whose it is cannot be told.
    assert sorted(path.name for path in tmp_path.iterdir()) == [".folder.123.tmp", "folder"]


def test_a_folder_and_all_in_it_is_flushed_before_it_takes_its_place(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace

    def note_sync(descriptor):
        events.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def note_rename(source, target):
        events.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_rename)

    fill(tmp_path / "folder", "whole")

    assert events[:2] == ["file", "deep"]
    assert events[2].startswith(".folder.")
    assert events[3:] == ["rename", tmp_path.name]


def test_a_key_given_twice_is_refused(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_text('{"id": "a", "score": 1}\n{"id": "b", "more": {"score": 1, "score": 2}}\n')
    rows = files.read_jsonl(path, made_by="the fix")
    assert next(rows) == (1, {"id": "a", "score": 1})
    with pytest.raises(DataError) as raised:
        next(rows)
    assert raised.value.what == f"{path}, line 2: 'score': expected one value; the key is there twice or more"
    path.write_text('{"a": 1, "a": 1}')
    with pytest.raises(DataError, match=r"labels\.jsonl: 'a': expected one value"):
        files.read_json(path, made_by="the fix")
