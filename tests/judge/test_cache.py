"""The cache of verdicts: what it gives back, and what a full disk, a removal or another process leaves of it."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys

import pytest

from stages.common.errors import DataError
from stages.judge.cache import VerdictCache, cache_path
from stages.judge.judges.protocol import Judgement


def test_the_cache_gives_back_what_it_was_given(tmp_path):
    path = tmp_path / "cache.jsonl"
    with VerdictCache(path) as cache:
        cache.put("a", Judgement("scored", 85.0, 'says "85" – so\n'))
        cache.put("b", Judgement("invalid", None, "not JSON"))
        cache.put("c", Judgement("failed", None, "HTTP 503"))
    with VerdictCache(path) as cache:
        assert cache.get("a") == Judgement("scored", 85.0, 'says "85" – so\n')
        assert cache.get("b") == Judgement("invalid", None, "not JSON")
        assert (cache.get("c"), len(cache)) == (None, 2)


def test_what_a_full_disk_took_of_a_verdict_is_taken_back_and_judging_goes_on(tmp_path, capsys):
    path = tmp_path / "cache.jsonl"
    with VerdictCache(path) as cache:
        assert cache.put("a", Judgement("scored", 1.0, ""))
        whole = path.read_bytes()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, before[1]))  # room for 20 bytes of the line
        try:
            kept = [cache.put(key, Judgement("scored", 2.0, "")) for key in "bc"]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert kept == [False, False]
        assert path.read_bytes() == whole
        assert cache.get("b") is None
        assert cache.put("b", Judgement("scored", 2.0, ""))
        assert cache.get("b").score == 2.0
    reason = os.strerror(errno.EFBIG)
    said = f"{path}: {reason}: verdicts are not kept there; an interrupted run asks again\n"
    assert capsys.readouterr().out == said, "told once"


def test_a_verdict_that_somebody_has_cut_off_is_said(tmp_path):
    path = tmp_path / "cache.jsonl"
    with VerdictCache(path) as cache:
        cache.put("a", Judgement("scored", 1.0, ""))
        os.truncate(path, 20)
        with pytest.raises(DataError, match=r"cache.jsonl, byte 0: expected a cached verdict, found the end"):
            cache.get("a")


WAITING = """
import sys
from pathlib import Path
from stages.judge.cache import VerdictCache
from stages.judge.judges.protocol import Judgement

with VerdictCache(Path(sys.argv[1])) as cache:
    print(sorted(key for key in "ab" if cache.get(key)), flush=True)
    cache.put("c", Judgement("scored", 3.0, ""))
"""


def test_a_second_process_waits_and_no_verdict_is_lost(tmp_path):
    path = tmp_path / "cache.jsonl"
    with VerdictCache(path) as cache:
        cache.put("a", Judgement("scored", 1.0, ""))
        with path.open("a") as file:
            file.write('{"key": "b", "status": "scored", "sc')  # as if this process were in the middle of a line
            file.flush()
            command = [sys.executable, "-c", WAITING, str(path)]
            other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert "waiting until it is done" in other.stdout.readline()
            file.write('ore": 2, "detail": ""}\n')
    said, _ = other.communicate(timeout=300)
    assert (other.returncode, said) == (0, "['a', 'b']\n")
    with VerdictCache(path) as cache:
        assert [cache.get(key).score for key in "abc"] == [1.0, 2.0, 3.0]


def test_a_broken_line_that_is_not_the_last_is_said(tmp_path):
    path = tmp_path / "cache.jsonl"
    path.write_text('{"key": "a"}\n{"key": "b", "status": "scored", "score": 1, "detail": ""}\n')
    with pytest.raises(DataError, match=r"cache.jsonl, line 1: not a cached verdict") as caught:
        VerdictCache(path).__enter__()
    assert caught.value.fix == f"rm {path}"


def test_every_part_of_the_identity_makes_another_cache():
    identity = {"model": "llama3", "digest": "1", "options": "seed 1"}
    paths = {cache_path(identity | {name: "2"}) for name in identity} | {cache_path(identity)}
    assert len(paths) == 4
    assert cache_path(identity) == cache_path(dict(reversed(identity.items())))
    assert cache_path(identity).parent.as_posix() == ".cache/judge"


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "1",
        '{"key": "a", "status": "failed", "score": null, "detail": ""}',
        '{"key": "a", "status": "scored", "score": null}',
        '{"key": "a", "status": "scored", "score": [1], "detail": ""}',
        "\0",
    ],
)
def test_a_line_that_is_no_verdict_is_told(tmp_path, line):
    path = tmp_path / "cache.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=r"cache.jsonl, line 1: not a cached verdict"):
        VerdictCache(path).__enter__()


def test_the_lines_of_the_file(tmp_path):
    path = tmp_path / "cache.jsonl"
    with VerdictCache(path) as cache:
        cache.put("a", Judgement("scored", 85.0, 'says "85" – so\n'))
        cache.put("b", Judgement("invalid", None, "not JSON"))
    assert path.read_text(encoding="utf-8").splitlines() == [
        '{"key": "a", "status": "scored", "score": 85.0, "detail": "says \\"85\\" – so\\n"}',
        '{"key": "b", "status": "invalid", "score": null, "detail": "not JSON"}',
    ]


REMOVED = """
import sys
from pathlib import Path
from stages.judge.cache import VerdictCache
from stages.judge.judges.protocol import Judgement

with VerdictCache(Path(sys.argv[1])) as cache:
    kept = cache.put("b", Judgement("scored", 2.0, ""))
    print(kept, Path(sys.argv[1]).read_bytes().count(b"\\n"), flush=True)
"""


def test_a_verdict_is_kept_where_it_is_said_to_be_though_the_file_was_removed_before(tmp_path):
    """A process that waited for a file that is gone by then, and one whose file is taken away while it has it."""
    path = tmp_path / "cache.jsonl"
    with VerdictCache(path) as cache:
        cache.put("a", Judgement("scored", 1.0, ""))
        other = subprocess.Popen([sys.executable, "-c", REMOVED, str(path)], stdout=subprocess.PIPE, text=True)
        assert "waiting until it is done" in other.stdout.readline()
        path.unlink()
    said, _ = other.communicate(timeout=300)
    assert (other.returncode, said) == (0, "True 1\n")

    with VerdictCache(path) as cache:
        path.unlink()
        assert cache.put("c", Judgement("scored", 3.0, ""))
    with VerdictCache(path) as cache:
        assert [cache.get(key) is not None for key in "abc"] == [False, True, True]
