"""The folder that stands for .cache where results are made again: one process at a time, kept if interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows import own_cache
from stages.common.errors import TemporaryFailure
from tests.root import ROOT

_HOLD = """\
import time
from pathlib import Path
from flows import own_cache
with own_cache.of(Path(), "k", log=print, resumes=True) as folder:
    (folder / "checkpoint").write_text("1")
    print("here", flush=True)
    time.sleep(600)
"""


def use(root: Path, key: str = "k", *, resumes: bool = True, fails: bool = False) -> list[str]:
    """The names of the files that are found, to which one is added."""
    with own_cache.of(root, key, log=print, resumes=resumes) as folder:
        found = sorted(path.name for path in folder.iterdir() if path.name != "measured")
        (folder / "checkpoint").write_text("1")
        if fails:
            raise KeyboardInterrupt
    return found


def test_what_was_measured_on_this_machine_holds_for_it_too(tmp_path: Path) -> None:
    (tmp_path / ".cache" / "measured").mkdir(parents=True)
    with own_cache.of(tmp_path, "k", log=print, resumes=False) as folder:
        (folder / "measured" / "new").touch()
    assert (tmp_path / ".cache" / "measured" / "new").exists(), "it is no copy, and outlives the folder"


def left(root: Path) -> list[str]:
    return sorted(path.name for path in (root / ".cache" / "again").iterdir())


def test_what_is_interrupted_goes_on_and_what_ends_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        use(tmp_path, fails=True)
    assert left(tmp_path) == ["k", "k.lock"]
    assert use(tmp_path) == ["checkpoint"]
    assert left(tmp_path) == []


def test_without_resuming_nothing_of_an_earlier_block_is_used_or_left(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        use(tmp_path, fails=True)
    assert use(tmp_path, resumes=False) == []
    with pytest.raises(KeyboardInterrupt):
        use(tmp_path, resumes=False, fails=True)
    assert left(tmp_path) == []


def test_a_second_process_is_refused_with_75_and_takes_nothing_from_the_first(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _HOLD]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "here\n"
        with pytest.raises(TemporaryFailure, match="is making the same results again") as refused:
            use(tmp_path)
        assert refused.value.exit_code == 75
        os.utime(tmp_path / ".cache" / "again" / "k.lock", (0, 0))
        assert use(tmp_path, "another") == []
        assert left(tmp_path) == ["k", "k.lock"], "it is in use, however old"
        first.kill()
    assert use(tmp_path) == ["checkpoint"], "the kernel frees the lock of a killed process"


def test_what_nobody_has_used_for_a_week_is_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for key in ("old", "new"):
        with pytest.raises(KeyboardInterrupt):
            use(tmp_path, key, fails=True)
    eight_days_ago = time.time() - 8 * 24 * 3600
    os.utime(tmp_path / ".cache" / "again" / "old.lock", (eight_days_ago, eight_days_ago))
    use(tmp_path)
    assert left(tmp_path) == ["new", "new.lock"]
    assert capsys.readouterr().out == "removing .cache/again/old, which was left unfinished more than a week ago\n"
