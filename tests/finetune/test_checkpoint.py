"""Killed at any moment and run again: the same bits. And checkpoints that are not whole or not ours."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stages.common.errors import NoSpace
from stages.common.files import sha256
from stages.common.results.finetune import FINETUNE_FOLDER, StepRecord
from stages.finetune import checkpoint, job, lora, trainer
from stages.finetune.costs import disk
from stages.finetune.costs.clock import Clock
from stages.finetune.optimizer import MasterWeights
from stages.finetune.progress import Progress
from stages.gpt2 import weights
from stages.params import whole
from stages.params.finetune import Lora
from stages.running import machine, run_key, signals
from stages.running.code_of import code_of
from tests import small_pipeline
from tests.faults import killing
from tests.faults.killing import Life, Runs
from tests.finetune.test_trainer import RECIPE, TINY, a_run
from tests.root import ROOT
from tests.small_disks import small


class Killed(BaseException):
    """Stands for a death between two steps."""


def fit(
    folder: Path | None,
    *,
    die_after: int | None = None,
    signal_in: int | None = None,
    dtype=torch.float32,
    said=None,
    recipe=RECIPE,
    clock=None,
    low_rank=None,
):
    """Train with a checkpoint after every step; die after one."""
    model = weights.initialise(TINY, seed=0)
    if low_rank:
        lora.attach(model, low_rank, seed=1)
    steps = []

    def on_step(record):
        steps.append(record.step)
        if record.step == die_after:
            raise Killed
        if record.step == signal_in:
            os.kill(os.getpid(), signal.SIGTERM)

    with contextlib.ExitStack() as stack:
        checkpoints = None
        if folder is not None:
            say = (lambda _: None) if said is None else said.append
            checkpoints = stack.enter_context(checkpoint.Checkpoints(folder, seconds=0, say=say))
            checkpoints.due = lambda: True
        run = a_run(recipe, dtype=dtype)
        progress = trainer.fit(model, run, on_step=on_step, checkpoints=checkpoints, clock=clock)
    return model, progress, steps


def progress_at(step: int) -> Progress:
    return Progress([StepRecord(step=n, epoch=1, tokens_seen=n) for n in range(step + 1)])


def save(checkpoints: checkpoint.Checkpoints, step: int) -> None:
    """Save a checkpoint of one tensor."""
    checkpoints.save(step, {"x": [3]}, iter([("x", torch.full((3,), float(step)))]), progress_at(step))


def assert_equal(found, expected):
    assert found[1] == expected[1]
    for ours, theirs in zip(found[0].parameters(), expected[0].parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("die_after", [0, 1, 3, 4, 6])
def test_a_run_that_goes_on_ends_with_the_same_bits_and_history(tmp_path, die_after, dtype):
    expected = fit(None, dtype=dtype)
    with pytest.raises(Killed):
        fit(tmp_path / "run", die_after=die_after, dtype=dtype)

    found = fit(tmp_path / "run", dtype=dtype)

    assert_equal(found, expected)
    assert found[2] == list(range(max(die_after - 1, 0) + (die_after > 1), 7))


@pytest.mark.parametrize("option", [{"dropout": 0.2}, {"patience": 1, "eval_every": 2}, {"accumulate": 2}])
def test_a_run_with_options_goes_on_to_the_same_bits(tmp_path, option):
    recipe = RECIPE.model_copy(update=option)
    expected = fit(None, recipe=recipe)
    with pytest.raises(Killed):
        fit(tmp_path / "run", die_after=4, recipe=recipe)

    assert_equal(fit(tmp_path / "run", recipe=recipe), expected)


@pytest.mark.parametrize("step", [3, 6])
@pytest.mark.parametrize("option", [{}, {"patience": 1, "eval_every": 1, "learning_rate": 0.5, "max_steps": 6}])
def test_a_signal_in_any_step_the_last_too_is_heard_and_the_run_goes_on(tmp_path, step, option):
    recipe = RECIPE.model_copy(update=option)
    expected = fit(None, recipe=recipe)
    last = expected[1].step
    with pytest.raises(signals.Interrupted):
        fit(tmp_path / "run", signal_in=min(step, last), recipe=recipe)

    assert_equal(fit(tmp_path / "run", recipe=recipe), expected)


class Interrupting(Clock):
    """Sends a signal when the n-th evaluation begins."""

    def __init__(self, evaluation: int) -> None:
        super().__init__(torch.device("cpu"))
        self.evaluation = evaluation

    def timed(self, what, function):
        def wrapped(*arguments):
            if self.times.get("evaluation", 0) == self.evaluation - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return evaluate(*arguments)

        evaluate = super().timed(what, function)
        return wrapped


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "option", [{}, {"patience": 1, "eval_every": 1, "learning_rate": 0.5}, {"eval_every": 1, "dropout": 0.1}]
)
@pytest.mark.parametrize("evaluation", [2, 3])
def test_a_signal_ends_an_evaluation_which_the_next_run_makes_again(tmp_path, evaluation, option, dtype):
    recipe = RECIPE.model_copy(update=option)
    expected = fit(None, recipe=recipe, dtype=dtype)
    evaluated = [record.step for record in expected[1].history if record.val_loss is not None][evaluation - 1]
    said = []
    with pytest.raises(signals.Interrupted, match="SIGTERM"):
        fit(tmp_path / "run", recipe=recipe, dtype=dtype, clock=Interrupting(evaluation))
    assert sorted(path.name for path in (tmp_path / "run").iterdir())[-1] == f"step-{evaluated:08d}"

    found = fit(tmp_path / "run", recipe=recipe, dtype=dtype, said=said)

    assert "going on from" in said[0]
    assert found[2][0] == evaluated, "the step is there, its record comes with its evaluation"
    assert_equal(found, expected)


def test_a_signal_in_the_first_evaluation_leaves_nothing_to_go_on_from(tmp_path):
    with pytest.raises(signals.Interrupted):
        fit(tmp_path / "run", clock=Interrupting(1))

    assert fit(tmp_path / "run")[2] == list(range(7))


def test_the_last_step_is_saved_before_the_model_is_written(tmp_path):
    expected = fit(tmp_path / "run")

    found = fit(tmp_path / "run")

    assert found[2] == [], "a run whose model could not be written trains no step again"
    assert_equal(found, expected)


def test_a_signal_after_the_last_step_is_heard(tmp_path, monkeypatch):
    expected = fit(tmp_path / "run")
    restore = MasterWeights.restore
    stopped = lambda *arguments: (os.kill(os.getpid(), signal.SIGTERM), restore(*arguments))  # noqa: E731
    monkeypatch.setattr(MasterWeights, "restore", stopped)

    with pytest.raises(signals.Interrupted, match="SIGTERM"):
        fit(tmp_path / "run")
    monkeypatch.undo()

    assert_equal(fit(tmp_path / "run"), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_rank_updates_go_on_to_the_same_bits(tmp_path, dtype):
    low_rank = Lora(rank=2, alpha=8.0, targets=["c_attn", "c_fc"])
    about = {"recipe": RECIPE.model_copy(update={"lora": low_rank}), "low_rank": low_rank, "dtype": dtype}
    expected = fit(None, **about)
    with pytest.raises(Killed):
        fit(tmp_path / "run", die_after=4, **about)

    assert_equal(fit(tmp_path / "run", **about), expected)


def change(path: Path, **values: object) -> None:
    """Put other values into a checkpoint's JSON."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def without(path: Path, *names: str) -> None:
    """Take values out of a checkpoint's JSON."""
    tree = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in tree.items() if name not in names}))


def forge(path: Path, change_it: Callable[[dict[str, Any]], None]) -> None:
    """Change the progress and give it the hash that it should have."""
    tree = json.loads(path.read_text())
    change_it(tree["progress"])
    tree["sha256"]["progress"] = checkpoint._hash_of(tree["progress"])
    path.write_text(json.dumps(tree))


def test_a_checkpoint_has_the_seconds_of_all_programs_that_the_run_took(tmp_path):
    """Killed after two steps, and again after one more; then as one that an earlier version has written."""

    def stage(taken: float, *, die_after: int | None) -> checkpoint.Resumed | None:
        with checkpoint.Checkpoints(tmp_path / "run", seconds=0, say=print, taken=lambda: taken) as checkpoints:
            checkpoints.due = lambda: True
            with contextlib.suppress(Killed):
                trainer.fit(
                    weights.initialise(TINY, seed=0),
                    a_run(),
                    on_step=lambda record: die(record.step, die_after),
                    checkpoints=checkpoints,
                )
            return checkpoints.resumed

    def die(step: int, last: int | None) -> None:
        if step == last:
            raise Killed

    assert stage(100.0, die_after=2) is None
    assert stage(20.0, die_after=3) == checkpoint.Resumed(1, 100.0)
    newest = sorted((tmp_path / "run").iterdir())[-1]
    assert json.loads((newest / checkpoint.PROGRESS).read_text())["seconds"] == 120.0
    for folder in (tmp_path / "run").iterdir():
        tree = json.loads((folder / checkpoint.PROGRESS).read_text())
        (folder / checkpoint.PROGRESS).write_text(json.dumps({name: tree[name] for name in tree if name != "seconds"}))
    assert stage(5.0, die_after=None) == checkpoint.Resumed(2, None)


def damage(folder: Path, how: str) -> None:
    state, progress = folder / checkpoint.STATE, folder / checkpoint.PROGRESS
    match how:
        case "truncated tensors":
            state.write_bytes(state.read_bytes()[:-1])
        case "one bit":
            data = bytearray(state.read_bytes())
            data[-1] ^= 1
            state.write_bytes(data)
        case "no tensors":
            state.unlink()
        case "a folder for tensors":
            state.unlink()
            state.mkdir()
        case "no safetensors":
            state.write_bytes(b"nothing of the kind")
            change(progress, sha256=json.loads(progress.read_text())["sha256"] | {checkpoint.STATE: sha256(state)})
        case "truncated progress":
            progress.write_text(progress.read_text()[:-20])
        case "another loss":
            tree = json.loads(progress.read_text())
            tree["progress"]["history"][1]["train_loss"] += 1e-9
            progress.write_text(json.dumps(tree))
        case "no progress":
            progress.unlink()
        case "a link in a circle":
            progress.unlink()
            progress.symlink_to(progress)
        case "no history":
            without(progress, "progress")
        case "no hash":
            without(progress, "sha256")
        case "a list":
            progress.write_text("[]")
        case "an unknown field":
            forge(progress, lambda tree: tree["history"][1].update(surprise=1))
        case "a step less":
            forge(progress, lambda tree: tree["history"].pop())
        case "another step's":
            shutil.copytree(folder.with_name("step-00000002"), folder, dirs_exist_ok=True)
        case "foreign":
            change(progress, key="another")
        case "newer format":
            change(progress, format=99)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("truncated tensors", "state.safetensors: expected SHA-256"),
        ("one bit", "state.safetensors: expected SHA-256"),
        ("no tensors", "state.safetensors: No such file"),
        ("a folder for tensors", "state.safetensors: Is a directory"),
        ("no safetensors", "state.safetensors: not a whole safetensors file"),
        ("truncated progress", "not valid JSON"),
        ("another loss", "progress.json: expected SHA-256"),
        ("no progress", "no such file"),
        ("a link in a circle", "Too many levels of symbolic links"),
        ("no history", "progress.json: 'progress' is missing"),
        ("no hash", "progress.json: 'sha256' is missing"),
        ("a list", "format: expected 3, found None"),
        ("an unknown field", ": unknown key"),
        ("a step less", "progress.json: expected step 3, found 2"),
        ("another step's", "step: expected 3, found 2"),
        ("foreign", "key: expected 'run', found 'another'"),
        ("newer format", "format: expected 3, found 99"),
    ],
)
def test_a_damaged_checkpoint_is_refused_with_a_reason_and_the_one_before_it_used(tmp_path, undisturbed, how, reason):
    shutil.copytree(undisturbed[1], tmp_path / "run")
    newest = sorted((tmp_path / "run").iterdir())[-1]
    assert newest.name == "step-00000003"
    damage(newest, how)

    said: list[str] = []
    found = fit(tmp_path / "run", said=said)

    assert_equal(found, undisturbed[0])
    assert found[2] == [3, 4, 5, 6]
    assert "step-00000003: not used" in said[0]
    assert reason in said[0]
    assert said[1].startswith("going on from")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What an undisturbed run gives, and the checkpoints of one that died in step 4."""
    folder = tmp_path_factory.mktemp("checkpoints") / "run"
    with pytest.raises(Killed):
        fit(folder, die_after=4)
    return fit(None), folder


def test_where_no_checkpoint_can_be_used_the_run_begins_from_scratch_and_says_so(tmp_path, undisturbed):
    shutil.copytree(undisturbed[1], tmp_path / "run")
    for folder in (tmp_path / "run").iterdir():
        damage(folder, "one bit")

    said: list[str] = []
    found = fit(tmp_path / "run", said=said)

    assert_equal(found, undisturbed[0])
    assert said[-1] == "no checkpoint can be used: beginning from scratch"


def test_a_refused_checkpoint_does_not_stand_in_the_place_of_one_to_fall_back_on(tmp_path):
    with checkpoint.Checkpoints(tmp_path / "run", seconds=0, say=print) as checkpoints:
        for step in (1, 8, 9):
            save(checkpoints, step)
        for step in (8, 9):
            damage(tmp_path / "run" / f"step-0000000{step}", "one bit")
        assert checkpoints.newest() is None
        save(checkpoints, 2)
        save(checkpoints, 3)

        assert [path.name for path in sorted((tmp_path / "run").iterdir())] == ["step-00000002", "step-00000003"]


def test_a_checkpoint_is_a_file_of_safetensors(tmp_path):
    tensors = {"weight": torch.randn(3, 5), "exp_avg": torch.randn(7), "none": torch.randn(1, 1)}
    with checkpoint.Checkpoints(tmp_path / "run", seconds=0, say=print) as checkpoints:
        shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
        checkpoints.save(2, shapes, iter(tensors.items()), progress_at(2))
        found = checkpoints.newest()

    from_library = load_file(tmp_path / "run" / "step-00000002" / checkpoint.STATE)
    assert set(from_library) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(from_library[name], tensor)
        assert torch.equal(found.tensors[name], tensor)
    assert len(found.tensors) == 3
    assert "another" not in found.tensors
    assert found.progress == progress_at(2)


def test_what_a_death_while_saving_leaves_behind_is_no_checkpoint(tmp_path):
    with pytest.raises(Killed):
        fit(tmp_path / "run", die_after=3)
    shutil.copytree(tmp_path / "run" / "step-00000002", tmp_path / "run" / ".step-00000005.123.tmp")

    assert fit(tmp_path / "run")[2] == [3, 4, 5, 6]


def test_the_checkpoints_of_a_run_at_work_are_not_among_those_of_runs_that_have_ended(tmp_path):
    with checkpoint.Checkpoints(tmp_path / "at-work", seconds=0, say=print) as at_work:
        for name in ("at-work", "ended", "ended-without-a-lock", "mine"):
            (tmp_path / name).mkdir()
        (tmp_path / "ended.lock").touch()
        mine = checkpoint.Checkpoints(tmp_path / "mine", seconds=0, say=print)

        assert mine.others() == [tmp_path / "ended", tmp_path / "ended-without-a-lock"]
        assert at_work.held
    assert mine.others() == [tmp_path / "at-work", tmp_path / "ended", tmp_path / "ended-without-a-lock"]


def test_a_run_that_is_looked_at_for_a_moment_keeps_its_checkpoints(tmp_path):
    with open(tmp_path / "run.lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        threading.Timer(0.05, lambda: fcntl.flock(stream, fcntl.LOCK_UN)).start()
        with checkpoint.Checkpoints(tmp_path / "run", seconds=0, say=print) as run:
            assert run.held


def test_a_second_process_on_the_same_run_trains_without_touching_its_checkpoints(tmp_path):
    expected = fit(None)
    said: list[str] = []
    with checkpoint.Checkpoints(tmp_path / "run", seconds=0, say=print) as first:
        save(first, 1)

        found = fit(tmp_path / "run", said=said)

    assert_equal(found, expected)
    assert said == ["another process is training this very run: going on without checkpoints"]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["step-00000001"]


def test_a_checkpoint_that_cannot_be_written_is_told_and_training_goes_on(tmp_path):
    expected = fit(None)
    (tmp_path / "run").write_text("a file where the folder should be")

    said: list[str] = []
    found = fit(tmp_path / "run", said=said)

    assert_equal(found, expected)
    assert "no checkpoint of step 1: " in said[0]


def test_what_was_killed_while_saving_is_swept_at_the_next_start(tmp_path):
    left = tmp_path / "run" / ".step-00000005.123.tmp"
    left.mkdir(parents=True)

    fit(tmp_path / "run")

    assert not left.exists()


def test_only_two_checkpoints_are_kept(tmp_path):
    with pytest.raises(Killed):
        fit(tmp_path / "run", die_after=6)

    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["step-00000004", "step-00000005"]


class Clock:
    """A clock that stands still unless it is told to go on."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_checkpoints_take_a_twenty_fifth_of_the_time_the_first_one_too(tmp_path, monkeypatch):
    clock = Clock()
    sizes: list[int] = []

    def write(_, parts):  # at 1 MiB a second
        sizes.append(sum(len(part) for part in parts))
        clock.time += max(sizes[-1] / (1 << 20), 10.0)
        return "0" * 64

    monkeypatch.setattr(checkpoint, "_write_hashed", write)
    said: list[str] = []
    size = 100 << 20
    made = checkpoint.Checkpoints(tmp_path / "run", seconds=30, say=said.append, size=size, now=clock)
    shares, saved = [], []
    with made as checkpoints:
        while clock.time < 20_000:
            clock.time += 1.0  # a step
            if checkpoints.due():
                save(checkpoints, 1)
                saved.append(clock.time)
                shares.append(checkpoints.spent / clock.time)

    # 32 MiB in 32 s foretell 200 s for the first: it waits until 232 s are a twenty-fifth. It took 10 s in truth.
    assert sizes[0] == checkpoint.PROBE
    assert saved[0] == pytest.approx(232 * 25 + 10, abs=2)
    assert max(shares) <= 0.0402
    assert shares[-1] == pytest.approx(0.04, rel=0.02)
    assert said == []


@pytest.mark.thorough
def test_a_disk_without_room_for_the_trial_stays_as_it_was(tmp_path):
    folder = tmp_path / "disk" / "run"
    with small(tmp_path / "disk", "1m"):
        folder.mkdir()
        with checkpoint.Checkpoints(folder, seconds=0, say=print, size=100 << 20) as checkpoints:
            checkpoints.due()

        assert [path.name for path in folder.iterdir()] == []


def test_checkpoints_that_cost_nothing_come_as_often_as_asked(tmp_path):
    clock = Clock()
    with checkpoint.Checkpoints(tmp_path / "run", seconds=30, say=print, now=clock) as checkpoints:
        found = []
        for _ in range(100):
            clock.time += 1
            if checkpoints.due():
                save(checkpoints, len(found) + 1)
                found.append(clock.time)

    assert found == [30, 60, 90]


def test_what_is_not_this_process_s_is_never_due(tmp_path):
    """Or processes that share the weights out would gather all of them in each step for nothing."""
    first, second = (checkpoint.Checkpoints(tmp_path / "run", seconds=0, say=print) for _ in range(2))
    with first, second:
        assert (first.due(), second.due()) == (True, False)
    assert not first.due()


def test_without_room_there_is_no_checkpoint_but_when_the_run_is_told_to_stop(tmp_path):
    with checkpoint.Checkpoints(tmp_path / "run", seconds=0, say=print, periodic=False) as checkpoints:
        assert not checkpoints.due()
        save(checkpoints, 1)

        assert checkpoints.newest().progress.step == 1


def test_a_lock_that_cannot_be_had_costs_the_checkpoints_alone(tmp_path, monkeypatch):
    expected = fit(None)

    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    said: list[str] = []

    assert_equal(fit(tmp_path / "run", said=said), expected)
    assert said == [f"{tmp_path}/run.lock: No locks available: going on without checkpoints"]


def test_a_folder_that_cannot_be_made_costs_the_checkpoints_alone(tmp_path):
    (tmp_path / "file").write_text("no folder")
    said: list[str] = []

    assert_equal(fit(tmp_path / "file" / "run", said=said), fit(None))
    assert said == [f"{tmp_path}/file/run.lock: File exists: going on without checkpoints"]


def test_the_lock_of_a_run_that_ends_is_not_that_of_the_next(tmp_path, monkeypatch):
    """A file that the last holder removes may be open already in another process, which would lock what is gone."""
    path = tmp_path / "run.lock"
    flock = fcntl.flock
    opened = []

    def too_late(descriptor, how):
        opened.append(descriptor)
        if len(opened) == 1:
            path.unlink()  # by its holder, between opening and locking
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", too_late)
    first, second = (checkpoint.Checkpoints(tmp_path / "run", seconds=0, say=print) for _ in range(2))
    with first, second:
        assert (first.held, second.held) == (True, False)
    # The first tries again with the new file; the second asks twice, as the holder may only have been looking.
    assert len(opened) == 4


def test_the_disk_that_a_run_takes_is_told_and_what_does_not_fit_left_out():
    gib = 1 << 30
    there = disk.Room(4 * gib, 3, 0, gib, 14 * gib, 14 * gib)
    assert there.enough
    assert (
        str(there) == "disk: up to 12.0 GiB for checkpoints, 3 of 4.0 GiB, and 1.0 GiB for the model; 14.0 GiB are free"
    )
    there.check()

    assert not disk.Room(4 * gib, 3, 0, gib, 12 * gib, 12 * gib).enough
    assert disk.Room(4 * gib, 3, 8 * gib, gib, 5 * gib, 5 * gib).enough  # what is there of this run counts
    told = " ".join(str(disk.Room(4 * gib, 3, 0, gib, 2 * gib, 2 * gib)).split())
    assert "That is not enough: going on without checkpoints" in told
    with pytest.raises(NoSpace, match=r"the trained model takes 1\.0 GiB of disk, and 0\.5 GiB are free") as found:
        disk.Room(4 * gib, 3, 0, gib, gib // 2, gib // 2).check()
    assert found.value.exit_code == 74


def test_the_size_of_a_checkpoint_is_estimated(tmp_path):
    for recipe in (RECIPE, RECIPE.model_copy(update={"patience": 3, "eval_every": 1})):
        with pytest.raises(Killed):
            fit(tmp_path / "run", die_after=3, recipe=recipe)
        count = sum(weight.numel() for weight in weights.initialise(TINY, seed=0).parameters())
        state = (tmp_path / "run" / "step-00000002" / checkpoint.STATE).stat().st_size

        assert 0 < state - disk.state_bytes(count, recipe) < 16_384  # names and shapes
        shutil.rmtree(tmp_path / "run")


def test_room_is_looked_for_where_folders_are_yet_to_be(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state").write_bytes(b"12345")

    found = disk.Room.of(tmp_path / "run", tmp_path / "not" / "yet", checkpoint=2, at_once=3, model=1)

    assert found.kept == 5
    assert found.for_model > 0


def test_a_run_s_key_depends_on_every_text_and_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("a")
    keys = [run_key.run_key("x", path), run_key.run_key("y", path), run_key.run_key("x", path, path)]
    path.write_text("b")
    keys.append(run_key.run_key("x", path))

    assert len(set(keys)) == 4
    assert run_key.run_key("x", path) == keys[-1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("torch.cpu.get_capabilities", {"amx_bf16": True, "avx2": True}),
        ("torch.backends.cpu.get_cpu_capability", "DEFAULT"),
        ("torch.get_num_threads", 77),
        ("stages.running.run_key._processor", "Another"),
        ("torch.__version__", "0.0"),
    ],
)
def test_a_run_s_key_depends_on_what_rounds_otherwise(monkeypatch, name, value):
    before = run_key.run_key("x")
    monkeypatch.setattr(name, value if name.endswith("__version__") else lambda: value)

    assert run_key.run_key("x") != before


def test_a_run_s_key_depends_on_the_gpu(monkeypatch):
    keys = set()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for card in ("NVIDIA H100", "NVIDIA H200"):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _, card=card: card)
        keys.add(run_key.run_key("x"))

    assert len(keys) == 2


def test_a_run_depends_on_the_code_that_it_trains_with_and_not_on_what_tells_of_it():
    found = {path.relative_to(ROOT).as_posix() for path in code_of("finetune")}

    assert {
        "stages/finetune/job.py",
        "stages/finetune/trainer.py",
        "stages/gpt2/model.py",
        "stages/common/records.py",
    } <= found
    assert not found & {
        "stages/generate/conversation.py",
        "stages/generate/journal.py",
        "stages/finetune/costs/ledger.py",
        "stages/gpt2/decoding.py",
        "stages/gpt2/inference.py",
        "stages/running/curves.py",
        "stages/running/gpu.py",
    }


def test_a_signal_is_held_until_it_is_asked_for_and_a_second_one_is_not():
    with signals.deferred_interruption() as pending:
        os.kill(os.getpid(), signal.SIGTERM)
        assert pending.signal == signal.SIGTERM
        with pytest.raises(signals.Interrupted, match="SIGTERM"):
            pending.raise_if_pending()
        with pytest.raises(signals.Interrupted, match="SIGINT"):
            os.kill(os.getpid(), signal.SIGINT)


#: Steps enough that none of the runs below comes to its end before it is killed.
LONGER = {"finetune": {"epochs": 20, "max_steps": 40, "eval_every": 5}}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder in which finetune can be run, and the SHA-256 of what it writes when nobody disturbs it."""
    return prepare(tmp_path_factory.mktemp("finetune"), LONGER)


def prepare(folder: Path, overlay: dict[str, Any]) -> tuple[Path, dict[str, str]]:
    small_pipeline.make(folder, overlay=overlay)
    for stage in ("download", "split", "tokenize", "finetune"):
        finish(folder, stage)
    return folder, digests(folder)


def stage_process(folder: Path, stage: str) -> subprocess.Popen[str]:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PIPELINE_MLFLOW_RUN_ID": "none",
        "PIPELINE_CHECKPOINT_SECONDS": "0.05",
    }
    command = [sys.executable, "-m", f"stages.{stage}"]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **output)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / FINETUNE_FOLDER).rglob("*"))
        if path.is_file()
    }


def finish(folder: Path, stage: str = "finetune") -> str:
    with stage_process(folder, stage) as process:
        output = process.communicate()[0]
    assert process.returncode == 0, output
    return output


def newest(folder: Path) -> int:
    """The step of the newest checkpoint, 0 for none."""
    steps = [int(path.name.rpartition("-")[2]) for path in (folder / ".cache" / "finetune").glob("*/step-*")]
    return max(steps, default=0)


def killed(runs: Runs, folder: Path, log: list[str], aim: str, occurrence: int, delay: float) -> Life:
    """Kill a run; it must have gone on from the last checkpoint that the one before it had finished."""
    there = newest(folder)
    life = runs.run(aim, occurrence, delay)
    assert life.code == -signal.SIGKILL, life.said
    assert life.went_on_from == there
    log.append(
        f"{len(log) + 1:>2}  went on from step {there:>3}; killed {1000 * delay:4.1f} ms into {aim} number "
        f"{occurrence}: {life.where}; newest checkpoint then: step {newest(folder)}"
    )
    return life


def check_the_end(folder: Path, expected: dict[str, str], said: str, step: int) -> None:
    """The run that came to its end went on from a step, and has left what an undisturbed one leaves."""
    assert re.search(rf"^going on from \.cache/finetune/\w+/step-{step:08d}$", said, re.MULTILINE), said
    assert digests(folder) == expected
    # No checkpoint, and nothing of a killed run; what the training has cost.
    assert [path.name for path in (folder / ".cache" / "finetune").iterdir()] == ["ledger.json"]
    assert not [path for path in folder.rglob(".*") if path.suffix in (".tmp", ".old")]


@pytest.mark.thorough
def test_sigkill_at_a_few_moments_and_run_again_gives_the_same_files(prepared):
    folder, expected = prepared
    log: list[str] = []
    with killing.runs(folder) as runs:
        lives = [
            killed(runs, folder, log, "forward", 20, 0.0),
            killed(runs, folder, log, "evaluation", 2, 0.0),
            killed(runs, folder, log, "save", 3, 0.005),
            killed(runs, folder, log, "model", 1, 0.001),
        ]
        step = newest(folder)
        last = runs.run()
    print(*log, sep="\n")

    assert [life.where.split()[-1] for life in lives] == ["step", "evaluation", "save", "model"]
    assert lives[1].went_on_from > 0
    assert last.code == 0, last.said
    check_the_end(folder, expected, last.said, step)


def test_the_stage_looks_for_room_before_it_trains(prepared, monkeypatch, capsys):
    monkeypatch.chdir(prepared[0])
    model = weights.initialise(TINY, seed=0)
    run = a_run(whole.load().finetune)
    bytes_of_it = 4 * sum(weight.numel() for weight in model.parameters())
    found = {}
    for free in (11 * bytes_of_it, 5 * bytes_of_it):
        monkeypatch.setattr(machine, "free_disk", lambda _, free=free: free)
        with job._checkpoints(run, model) as checkpoints:
            found[free] = checkpoints._periodic
            checkpoints.clear()
    monkeypatch.setattr(machine, "free_disk", lambda _: bytes_of_it - 1)

    assert list(found.values()) == [True, False]
    assert "going on without checkpoints" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(NoSpace, match="the trained model takes"):
        job._checkpoints(run, model)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_saves_and_ends_with_75(prepared, number):
    folder, expected = prepared
    code, output, _ = stopped(folder, number)

    assert code == 75, output
    assert f"finetune: stopped by {number.name}; run the same command again" in output
    assert "Traceback" not in output
    step = newest(folder)
    check_the_end(folder, expected, finish(folder), step)


def stopped(folder: Path, number: signal.Signals) -> tuple[int, str, float]:
    """Run finetune, send it a signal in its steps; its exit code, what it said, and the seconds that it went on."""
    with stage_process(folder, "finetune") as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("step "):
                break
        time.sleep(0.2)
        process.send_signal(number)
        started = time.monotonic()
        output = process.stdout.read()
    return process.returncode, output, time.monotonic() - started


@pytest.mark.slow
def test_a_signal_to_a_model_of_124_million_weights_is_obeyed_within_seconds(tmp_path):
    """1.4 GB of state: 12 bytes a weight."""
    sizes = {"n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 128}
    small_pipeline.make(tmp_path, overlay={"download": {"model": sizes}, "finetune": {"max_steps": 50, "epochs": 20}})
    for stage in ("download", "split", "tokenize"):
        finish(tmp_path, stage)

    code, output, seconds = stopped(tmp_path, signal.SIGTERM)

    print(f"{seconds:.1f} s from SIGTERM to the end")
    assert code == 75, output
    assert newest(tmp_path) > 0
    assert seconds < 30


#: Thirty lives of some steps each.
LONGEST = {"finetune": {"epochs": 200, "max_steps": 900, "eval_every": 5}}
#: Kills, and where they are aimed at in turn.
KILLS = 30
AIMS = ("forward", "save", "evaluation")


@pytest.mark.slow
def test_thirty_kills_at_random_moments(tmp_path):
    folder, expected = prepare(tmp_path, LONGEST)
    draw = random.Random(0)
    log: list[str] = []
    lives = []
    with killing.runs(folder) as runs:
        for number in range(KILLS):
            aim = AIMS[number % len(AIMS)]
            occurrence = draw.randint(1, {"forward": 60, "save": 6, "evaluation": 5}[aim])
            lives.append(killed(runs, folder, log, aim, occurrence, draw.uniform(0, 0.02 if aim == "save" else 0.004)))
    print(*log, sep="\n")

    landed = [life.where for life in lives]
    for part in AIMS:
        assert sum(part in where for where in landed) >= 5, landed
    assert sum(life.went_on_from > 0 for life in lives) >= 25
    step = newest(folder)
    check_the_end(folder, expected, finish(folder), step)
