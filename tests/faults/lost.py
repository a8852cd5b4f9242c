"""Faults that would lose work: full disks, kills from outside, a lost server, a terminal that lacks letters."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests import small_disks
from tests.faults.clones import CannotInject, Clone, Life, Templates, expect
from tests.faults.records import MIDDLE, complete
from tests.faults.table import Bench, Fault
from tests.flow_project import wait_until

_SERVER_GONE = "does not answer: its pages do not show how this run ended"


@contextlib.contextmanager
def _disk(disk: contextlib.AbstractContextManager[None]) -> Iterator[None]:
    """A disk of `tests.small_disks` for the block.

    Raises:
        CannotInject: no file system can be mounted here.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(disk)
        except pytest.skip.Exception as reason:
            raise CannotInject(str(reason)) from None
        yield


def _full_cache(bench: Bench, clone: Clone) -> str:
    kept = clone.root / ".cache"
    kept.rename(clone.root / "aside")
    with _disk(small_disks.full(kept)):
        clone.door("flow").ends_with(74, f"{kept}: cannot be written: No space left on device")
        expect("finetune" not in clone.lock(), "the flow has begun to train")
        first = clone.door("dvc")
        # generate keeps its answers there, one by one, and reads them from there.
        first.ends_with(255, "ledger.json: No space left on device: not kept", ".cache/generate: cannot be written")
        expect("finetune" in clone.lock(), "the training is not recorded")
    kept.rmdir()
    (clone.root / "aside").rename(kept)
    second = clone.door("flow")
    complete(clone, second)
    expect("finetune" not in second.ran, "it trained again")
    return (
        "the flow begins nothing; by dvc the training is recorded, and a line names what is not kept, and generate "
        "ends with 74 before it works"
    )


def _full_cache_of_dvc(bench: Bench, clone: Clone) -> str:
    (clone.root / ".dvc" / "config.local").write_text("[cache]\n    dir = ../disk/cache\n")
    with _disk(small_disks.small(clone.root / "disk", "16m")):
        shutil.copytree(clone.root / ".dvc" / "cache", clone.root / "disk" / "cache", dirs_exist_ok=True)
        first = clone.door("dvc", "finetune").at(MIDDLE)
        filled = small_disks.fill(clone.root / "disk")
        code = first.end()
        filled.unlink()
        if code == 0:  # it took links, for which there was room
            raise CannotInject("DVC needed no room for the model")
        expect("dvc commit -f finetune" in first.said, f"it does not say what to do:\n{first.said[-1000:]}")
        clone.python("-m", "dvc", "commit", "-f", "finetune").ends_with(0)
        second = clone.door("dvc")
        complete(clone, second)
        expect("finetune" not in second.ran, "it trained again")
    return "DVC fails, the message says dvc commit -f finetune, and that takes what was trained"


def _few_letters(bench: Bench, clone: Clone) -> str:
    poor = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "iso-8859-1"}
    complete(clone, clone.door("flow", **poor))
    return "all stages run; what the encoding lacks is an escape"


def _read_only_results(bench: Bench, clone: Clone) -> str:
    results = clone.root / "artifacts"
    with _disk(small_disks.read_only(results)):
        life = clone.door("make")
        code = life.end()
    expect(code not in (0, None), "it succeeds")
    expect("step 0/" not in life.said, "it trained")
    expect("Read-only file system" in life.said, f"it does not say so:\n{life.said[-1000:]}")
    complete(clone, clone.door("make"))
    return f"{code} before the training begins; writable again, it runs"


def _make_clean(door: str) -> Callable[[Bench, Clone], str]:
    def inject(bench: Bench, clone: Clone) -> str:
        life = clone.door(door).at(MIDDLE)
        clean = clone.start("make", "clean", PYTHON="python")
        expect(clean.end() == 2, "make clean does not refuse")
        expect("a run is at work in this folder: " in clean.said, "it does not say why")
        complete(clone, life)
        return "make clean refuses and names the process; the run is complete"

    return inject


def _make_clean_after_kills(bench: Bench, clone: Clone) -> str:
    """A run that was killed in its first moment has left a workspace whose owner is not written."""
    for name, owner in (("run-a", None), ("run-b", ""), ("run-c", "elsewhere:1:2:3")):
        left = clone.root / ".cache" / "workspaces" / name
        left.mkdir(parents=True)
        if owner is not None:
            (left / "owner").write_text(owner)
    clean = clone.start("make", "clean")
    clean.ends_with(0)
    expect(not (clone.root / ".cache").exists(), ".cache is left")
    return "it cleans"


def _server_killed(bench: Bench, clone: Clone) -> str:
    clone.prefect = ""
    life = clone.door("flow").at(MIDDLE)
    expect(life.kill("server"), "no server at work")
    began = time.monotonic()
    complete(clone, life)
    seconds = time.monotonic() - began
    expect(life.said.count(_SERVER_GONE) == 1, "it does not say so in one line")
    expect(seconds < 120, f"it took {seconds:.0f} s")
    return f"one line, the summary and 0, {seconds:.0f} s after the kill"


def _killed_twice(bench: Bench, clone: Clone) -> str:
    """Killed by SIGKILL, so that there may be no checkpoint yet: these take a twenty-fifth of the time at most."""
    first = clone.door("flow").at(MIDDLE)
    expect(first.kill("finetune"), "the training is over")
    steps = [max(clone.checkpoints().values(), default=0)]
    first.at("trying again")
    wait_until(lambda: first.code is not None or _is_on_the_way(first, steps[0]))
    expect(first.kill("finetune"), "the training is over in the second try")
    steps.append(max(clone.checkpoints().values(), default=0))
    first.ends_with(137, "end what else takes memory on this machine")
    expect(not steps[0] or "going on from" in first.said, f"the second try ignored the checkpoint of step {steps[0]}")
    second = clone.door("flow")
    complete(clone, second)
    expect(not steps[1] or "going on from" in second.said, f"it ignored the checkpoint of step {steps[1]}")
    return f"tried once more, then 137 with advice on memory; newest checkpoints, gone on from: steps {steps}"


def _is_on_the_way(life: Life, step: int) -> bool:
    """Whether a second try trains: from a checkpoint, or from the beginning to its middle."""
    return "going on from" in life.said if step else life.said.count(MIDDLE) > 1


def _stopped(bench: Bench, clone: Clone) -> str:
    first = clone.door("flow").at(MIDDLE)
    first.kill("door", signal.SIGINT)
    first.ends_with(75, "run the same command again")
    second = clone.door("dvc")
    complete(clone, second)
    expect("going on from" in second.said, "it trained from scratch")
    return "75, saved; dvc repro goes on from the checkpoint"


def _three_at_once(bench: Bench, clone: Clone) -> str:
    lives = [clone.door("flow"), clone.door("make"), clone.door("isolated")]
    for life in lives:
        life.ends_with(0)
    trained = [life.door for life in lives if "finetune" in life.ran]
    expect("isolated" in trained, "the isolated run did not train")
    complete(clone, lives[0])
    return f"{', '.join(trained)} trained; the others waited and took the results"


def _tokenized(templates: Templates) -> Clone:
    return templates.tokenized()


def _finished(templates: Templates) -> Clone:
    return templates.finished()


FAULTS: Sequence[Fault] = (
    Fault("a full disk under .cache", "a training, for want of bookkeeping", "flow, dvc", _tokenized, _full_cache),
    Fault(
        "a disk of DVC's cache that fills up during a training", "the training", "dvc", _tokenized, _full_cache_of_dvc
    ),
    Fault("a terminal without most letters", "a training, for an arrow", "flow", _tokenized, _few_letters),
    Fault("a read-only artifacts/", "a training, at its end", "make", _tokenized, _read_only_results),
    *(
        Fault("make clean during a run", "the run's files", door, _tokenized, _make_clean(door))
        for door in ("dvc", "isolated")
    ),
    Fault(
        "make clean after kills at any moment",
        "it ends in a traceback",
        "make clean",
        _finished,
        _make_clean_after_kills,
        recorded=False,
    ),
    Fault(
        "Prefect's server killed during a stage", "the summary and the exit code", "flow", _tokenized, _server_killed
    ),
    Fault("the stage killed twice during a training", "the training", "flow", _tokenized, _killed_twice),
    Fault("Ctrl-C during a training", "the training", "flow, then dvc", _tokenized, _stopped),
    Fault(
        "three doors at once in one folder", "one another's files", "flow, make, isolated", _tokenized, _three_at_once
    ),
)
