"""Characters that the encoding of standard output lacks: every program of ours writes its messages all the same."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import small_pipeline
from tests.root import ROOT

SAY = "from stages.running import streams; streams.prepare(); print('loss 2 \\u2192 1, caf\\u00e9, \\ud83d')"
#: Files that import nothing of ours. They print nothing, or to standard error, which escapes what it lacks.
NO_MODULES = (
    ROOT / "flows" / "guard.py",
    ROOT / "flows" / "waiting_dvc.py",
    ROOT / "tools" / "at_work.py",
    ROOT / "tools" / "install.py",
)
#: What prepares the streams, directly or as its first statement.
PREPARING = ("streams.prepare", "program.run", "command_line.run", "child.run")


def output(*arguments: str, encoding: str, **options: object) -> bytes:
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, check=True, **options).stdout  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", b"loss 2 \\u2192 1, caf\\xe9, \\ud83d\n"),
        ("iso-8859-1", b"loss 2 \\u2192 1, caf\xe9, \\ud83d\n"),
        ("utf-8", "loss 2 → 1, café, \\ud83d\n".encode()),
    ],
)
def test_what_an_encoding_lacks_is_written_as_an_escape(encoding, expected):
    assert output("-c", SAY, encoding=encoding) == expected


RAISE = """
import sys, threading
from flows import command_line
from stages.running import program, streams
def fail():
    raise ValueError("of the row \\x1b[2J\\x9b, at http://me:secret@host")
def fail_in_a_thread():
    streams.prepare()
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    sys.exit(1)
"""


@pytest.mark.parametrize(
    ("how", "code", "then"),
    [
        (
            "program.run('split', fail)",
            70,
            "split: an error that nobody foresaw, whose traceback is above: "
            "ValueError: of the row \\x1b[2J\\x9b, at http://***@host\n"
            "  to fix it: report it, with the whole output\n",
        ),
        ("fail_in_a_thread()", 1, ""),
        ("streams.prepare(); fail()", 70, ""),
        ("command_line.run(fail)", 70, ""),
    ],
)
def test_a_traceback_holds_no_character_that_commands_a_terminal(how, code, then, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RAISE + how]
    done = subprocess.run(command, env=environment, capture_output=True, cwd=tmp_path, text=True, check=False)

    assert done.returncode == code
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.endswith("ValueError: of the row \\x1b[2J\\x9b, at http://***@host\n" + then)
    assert not set(done.stderr) & {"\x1b", "\x9b"}


GONE = "the reader of this program's output went away\n  to fix it: run the same command again\n"
IMPORTS = "from flows import command_line; from stages.common.errors import *; from stages.running import program\n"


@pytest.mark.parametrize(
    ("main", "code", "said"),
    [
        ("print('looking', flush=True); work()", 75, f"pipeline: {GONE}"),
        ("command_line.succeed('done', 'results')", 0, ""),
        ("print('results')", 0, ""),
        ("print('looking'); command_line.fail('a fault', 78)", 78, "pipeline: a fault\n"),
        ("print('looking'); raise DataError('row 3')", 65, "pipeline: row 3\n"),
    ],
)
def test_a_reader_that_goes_away_is_a_success_only_where_the_work_is_done(main, code, said):
    program = f"{IMPORTS}def main():\n    {main}\ncommand_line.run(main)"

    assert without_a_reader("-c", program) == (code, said)


def test_a_stage_whose_reader_goes_away_can_be_run_again(tmp_path):
    program = f"{IMPORTS}program.run('compare', lambda: print('a', flush=True))"

    assert without_a_reader("-c", program, cwd=tmp_path) == (75, f"compare: {GONE}")


def test_results_that_do_not_fit_on_the_disk_are_no_success():
    program = f"{IMPORTS}command_line.run(lambda: print('results'))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert (done.returncode, done.stderr) == (74, "pipeline: input/output: No space left on device\n")


def without_a_reader(*arguments: str, cwd: Path = ROOT) -> tuple[int, str]:
    """The exit code and the standard error of Python whose standard output nobody reads."""
    read, write = os.pipe()
    os.close(read)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    return done.returncode, done.stderr


def test_a_closed_stream_leads_to_nothing():
    closed = f"import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, '-c', {SAY!r}])"

    assert output("-c", closed, encoding="utf-8") == b""


@pytest.mark.thorough
def test_a_stage_whose_messages_an_encoding_lacks_ends_well(tmp_path):
    small_pipeline.make(tmp_path, overlay={"download": {"data": {"source": "data/données.json"}}})
    (tmp_path / "data" / "instructions.json").rename(tmp_path / "data" / "données.json")

    said = output("-m", "stages.download", encoding="ascii", cwd=tmp_path)

    assert b"dataset: 40 rows from data/donn\\xe9es.json" in said


def programs() -> list[Path]:
    files = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    named = [ROOT / name for name in files.splitlines() if not name.startswith("tests/")]
    return [
        path for path in named if path not in NO_MODULES and '\nif __name__ == "__main__"' in path.read_text("utf-8")
    ]


@pytest.mark.parametrize("path", programs(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_program_prepares_its_streams_first(path):
    last = ast.parse(path.read_text("utf-8")).body[-1]
    assert isinstance(last, ast.If)
    calls = [ast.unparse(node.func) for node in ast.walk(last) if isinstance(node, ast.Call)]

    assert set(calls) & set(PREPARING)
