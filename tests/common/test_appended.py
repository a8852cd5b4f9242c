"""The file that unfinished work is kept in: whatever is killed, removed or full, what is said to be kept is there."""

from __future__ import annotations

import errno
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stages.common.appended import AppendedFile, remove_unless_open
from stages.common.errors import DataError
from tests.root import ROOT


def parsed(line: bytes) -> tuple[str, str]:
    key, separator, value = line.decode().rstrip("\n").partition("=")
    if not separator:
        raise ValueError("no =")
    return key, value


class Pairs(AppendedFile[str]):
    """Lines of KEY=VALUE."""

    def __init__(self, path: Path, said: list[str] | None = None) -> None:
        say = print if said is None else said.append
        super().__init__(path, parse=parsed, entry="a pair", busy="waiting", say=say)

    def put(self, key: str, value: str = "") -> None:
        self.keep(key, f"{key}={value}\n".encode())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "pairs"


def keys(path: Path) -> list[str]:
    return [parsed(line)[0] for line in path.read_bytes().splitlines(keepends=True)]


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    code = "import sys; from pathlib import Path; from tests.common.test_appended import Pairs\n" + code
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-u", "-c", code, *map(str, arguments)], cwd=ROOT, text=True, **pipes)


#: Waits for the file, says what is in it, and puts its own pair in. Its arguments: the path and the key.
ONE_MORE = """
with Pairs(Path(sys.argv[1])) as pairs:
    print(len(pairs), *(key for key in "abcdef" if key in pairs))
    pairs.put(sys.argv[2], "theirs")
"""


def said_by(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """No file of this process may grow beyond ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_entries_are_found_by_key_also_by_the_next_who_opens_the_file(path):
    long = "x" * 10_000
    with Pairs(path) as pairs:
        pairs.put("a", "1")
        pairs.put("b", long)
        pairs.put("a", "2")
        assert (len(pairs), "a" in pairs, "c" in pairs) == (2, True, False)
        assert [pairs.get(key) for key in "abc"] == ["2", long, None]
    with Pairs(path) as pairs:
        assert [pairs.get(key) for key in "abc"] == ["2", long, None]
    assert keys(path) == ["a", "b", "a"]


@pytest.mark.parametrize("cut", [1, 3])
def test_half_a_line_at_the_end_is_dropped(path, cut):
    with Pairs(path) as pairs:
        pairs.put("a", "1")
        pairs.put("b", "2")
    path.write_bytes(path.read_bytes()[:-cut])

    with Pairs(path) as pairs:
        assert [pairs.get(key) for key in "ab"] == ["1", None]
        pairs.put("b", "3")
    assert path.read_text() == "a=1\nb=3\n"


def test_a_line_in_the_middle_that_cannot_be_read_is_told_and_the_file_let_go(path):
    path.parent.mkdir()
    path.write_text("a=1\nnothing\nb=2\n")
    for _ in range(2):
        with pytest.raises(DataError, match=r"folder/pairs, line 2: not a pair") as caught, Pairs(path):
            pass
    assert caught.value.fix == f"rm {path}"


def test_an_entry_that_somebody_has_cut_off_is_told(path):
    with Pairs(path) as pairs:
        pairs.put("a", "1234")
        with path.open("r+b") as file:
            file.truncate(3)
        with pytest.raises(DataError, match=r"folder/pairs, byte 0: expected a pair, found the end of the file"):
            pairs.get("a")


def test_what_a_full_disk_took_of_an_entry_is_taken_back(path):
    with Pairs(path) as pairs:
        pairs.put("a", "1")
        with at_most(10), pytest.raises(OSError) as caught:  # noqa: PT011, the number is what counts
            pairs.put("b", "x" * 100)
        assert caught.value.errno == errno.EFBIG
        assert (path.read_text(), pairs.get("b")) == ("a=1\n", None)
        pairs.put("b", "2")
    assert path.read_text() == "a=1\nb=2\n"


def test_what_was_kept_after_a_mark_can_be_dropped(path):
    with Pairs(path) as pairs:
        pairs.put("a", "1")
        mark = pairs.mark()
        pairs.put("b", "2")
        pairs.put("a", "3")
        pairs.forget_since(mark)
        assert (len(pairs), pairs.get("a"), pairs.get("b")) == (1, "1", None)
        pairs.put("c", "3")
        assert pairs.get("c") == "3"
    assert path.read_text() == "a=1\nc=3\n"


def test_several_threads_keep_and_read_at_the_same_time(path):
    def work(thread: int) -> None:
        for number in range(200):
            pairs.put(f"{thread}-{number}", str(number))
            assert pairs.get(f"{thread}-{number // 2}") == str(number // 2)

    with Pairs(path) as pairs:
        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(pairs) == 1600
    with Pairs(path) as pairs:
        assert all(pairs.get(f"{thread}-{number}") == str(number) for thread in range(8) for number in range(200))


def test_a_thread_that_comes_after_the_end_writes_nowhere(path):
    with Pairs(path) as pairs:
        pairs.put("a")
    other = (path.parent / "other").open("ab", buffering=0)  # may well have the descriptor's number
    with other, pytest.raises(OSError, match="Bad file descriptor"):
        pairs.put("b")
    assert (keys(path), (path.parent / "other").read_bytes()) == (["a"], b"")


def test_an_entry_takes_about_130_bytes_of_memory(path):
    count = 100_000  # just behind a step in which a dict grows, where it is nearly at its emptiest
    path.parent.mkdir()
    path.write_text("".join(f"{number:064x}={'x' * 200}\n" for number in range(count)))
    pairs = Pairs(path)
    tracemalloc.start()
    try:
        with pairs:
            taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / count < 140


def test_two_who_wait_come_one_after_the_other_and_nothing_is_lost(path):
    with Pairs(path) as pairs:
        pairs.put("a")
        waiting = [start(ONE_MORE, path, key) for key in "bc"]
        assert [process.stdout.readline() for process in waiting] == ["waiting\n", "waiting\n"]
        pairs.put("d")
    said = sorted(said_by(process) for process in waiting)

    assert said in (["2 a d\n", "3 a b d\n"], ["2 a d\n", "3 a c d\n"])
    assert sorted(keys(path)) == ["a", "b", "c", "d"]


def test_two_who_wait_for_a_file_that_is_removed_share_the_next_one(path):
    """Were it not looked for again, each would lock a file without a name, and both at the same time."""
    with Pairs(path) as pairs:
        pairs.put("a")
        waiting = [start(ONE_MORE, path, key) for key in "bc"]
        assert [process.stdout.readline() for process in waiting] == ["waiting\n", "waiting\n"]
        pairs.clear()
    said = sorted(said_by(process) for process in waiting)

    assert said in (["0\n", "1 b\n"], ["0\n", "1 c\n"])
    assert sorted(keys(path)) == ["b", "c"]


@pytest.mark.parametrize("remove", [Path.unlink, lambda path: shutil.rmtree(path.parent)])
def test_a_file_removed_while_it_is_in_use_is_written_again_and_who_waits_gets_all(path, remove):
    said: list[str] = []
    with Pairs(path, said) as pairs:
        pairs.put("a", "1")
        pairs.put("b", "2")
        waiting = start(ONE_MORE, path, "f")
        assert waiting.stdout.readline() == "waiting\n"
        remove(path)
        pairs.put("c", "3")
        assert path.read_text() == "a=1\nb=2\nc=3\n"
        assert [pairs.get(key) for key in "abc"] == ["1", "2", "3"]
        time.sleep(0.2)  # the one who waits must not take the copy from under us
        pairs.put("d", "4")
    assert said == [f"{path} was removed while it was in use: writing it again; entries so far: 2"]
    assert said_by(waiting) == "4 a b c d\n"
    assert keys(path) == ["a", "b", "c", "d", "f"]


def test_a_removed_file_for_which_the_disk_has_no_room_is_told_and_not_half_there(path):
    with Pairs(path, []) as pairs:
        pairs.put("a", "x" * 100)
        path.unlink()
        with at_most(50), pytest.raises(OSError, match="File too large"):
            pairs.put("b")
        assert path.read_bytes() == b""
        assert (pairs.get("a"), pairs.get("b")) == ("x" * 100, None)
        pairs.put("b")
    assert keys(path) == ["a", "b"]


HOLD = "with Pairs(Path(sys.argv[1])) as pairs: pairs.put('z'); print('open'); sys.stdin.read()"


def test_a_file_that_another_process_has_put_there_is_left_alone(path):
    with Pairs(path, []) as pairs:
        pairs.put("a")
        path.unlink()
        other = start(HOLD, path)
        assert other.stdout.readline() == "open\n"
        for _ in range(2):  # while it is held, and when it is only there
            with pytest.raises(DataError, match="another process has replaced the file"):
                pairs.put("b")
            other.communicate()
        assert "b" not in pairs
        pairs.clear()
    assert keys(path) == ["z"]


def test_a_file_is_removed_unless_a_process_has_it_open(path):
    other = start(HOLD, path)
    assert other.stdout.readline() == "open\n"
    remove_unless_open(path)
    assert path.exists()
    other.kill()
    other.communicate()
    remove_unless_open(path)
    assert not path.exists()
    remove_unless_open(path)


#: Is killed in the middle of its third line.
DIES = """
import os, signal
write = os.write
def half(descriptor, data):
    if data.startswith(b"c"):
        write(descriptor, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    return write(descriptor, data)
os.write = half
with Pairs(Path(sys.argv[1])) as pairs:
    for key in "abcd":
        pairs.put(key, "value")
"""


def test_a_process_killed_in_the_middle_of_a_line_leaves_all_that_it_had_kept(path):
    process = start(DIES, path)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"a=value\nb=value\nc=va"

    with Pairs(path) as pairs:
        assert [key for key in "abcd" if key in pairs] == ["a", "b"]
        pairs.put("c", "value")
    assert path.read_text() == "a=value\nb=value\nc=value\n"


#: Keeps numbers from where the file ends, and says each when it is kept.
COUNTS = """
import itertools
with Pairs(Path(sys.argv[1])) as pairs:
    for number in itertools.count(len(pairs)):
        pairs.put(str(number), "x" * 5000)
        print(number)
"""


def test_what_a_process_has_said_it_kept_is_there_whenever_it_is_killed(path):
    last = -1
    for _ in range(3):
        process = start(COUNTS, path)
        said = [process.stdout.readline() for _ in range(50)]
        process.kill()
        rest = process.stdout.read()
        process.communicate()
        told = [int(line) for line in [*said, *rest.splitlines(keepends=True)] if line.endswith("\n")]
        assert told[0] > last
        last = told[-1]
        with Pairs(path) as pairs:
            assert all(pairs.get(str(number)) == "x" * 5000 for number in range(last + 1))
            assert len(pairs) - (last + 1) in (0, 1)  # one more may be kept and not said yet
