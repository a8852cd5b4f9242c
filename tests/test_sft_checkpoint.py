"""Killed at any moment and run again: the same bits. And checkpoints that are not whole or not ours."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from stages.common import paths, signals
from stages.common.params import Lora
from stages.gpt2 import weights
from stages.sft import checkpoint, lora, trainer
from tests import small_pipeline
from tests.small_pipeline import ROOT
from tests.test_sft_trainer import RECIPE, TINY, TRAIN, VAL


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
    val=VAL,
    on_epoch=None,
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
        progress = trainer.fit(
            model,
            TRAIN,
            val,
            recipe,
            loss_on="all",
            dtype=dtype,
            on_step=on_step,
            on_epoch=on_epoch or (lambda epoch: {"epoch": epoch, "sample": model.wte.weight.float().sum().item()}),
            checkpoints=checkpoints,
        )
    return model, progress, steps


def assert_equal(found, expected):
    assert found[1] == expected[1]
    for ours, theirs in zip(found[0].parameters(), expected[0].parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("die_after", [0, 1, 3, 4, 6])
def test_a_run_that_goes_on_ends_with_the_same_bits_history_and_samples(tmp_path, die_after, dtype):
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


class Interrupting(list):
    """Rows that send a signal while they are evaluated for the n-th time."""

    def __init__(self, rows, evaluation: int) -> None:
        super().__init__(rows)
        self.left = 2 * evaluation  # an evaluation goes through them to count, and to put them in order

    def __iter__(self):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().__iter__()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "option", [{}, {"patience": 1, "eval_every": 1, "learning_rate": 0.5}, {"eval_every": 1, "dropout": 0.1}]
)
@pytest.mark.parametrize("evaluation", [2, 3])
def test_a_signal_ends_an_evaluation_which_the_next_run_makes_anew(tmp_path, evaluation, option, dtype):
    recipe = RECIPE.model_copy(update=option)
    expected = fit(None, recipe=recipe, dtype=dtype)
    evaluated = [record.step for record in expected[1].history if record.val_loss is not None][evaluation - 1]
    said = []
    with pytest.raises(signals.Interrupted, match="SIGTERM"):
        fit(tmp_path / "run", recipe=recipe, dtype=dtype, val=Interrupting(VAL, evaluation))
    assert sorted(path.name for path in (tmp_path / "run").iterdir())[-1] == f"step-{evaluated:08d}"

    found = fit(tmp_path / "run", recipe=recipe, dtype=dtype, said=said)

    assert "going on from" in said[0]
    assert found[2][0] == evaluated, "the step is there, its record comes with its evaluation"
    assert_equal(found, expected)


def test_a_signal_in_the_first_evaluation_leaves_nothing_to_go_on_from(tmp_path):
    with pytest.raises(signals.Interrupted):
        fit(tmp_path / "run", val=Interrupting(VAL, 1))

    assert fit(tmp_path / "run")[2] == list(range(7))


def test_the_last_step_is_saved_before_the_model_is_written(tmp_path):
    expected = fit(tmp_path / "run")

    found = fit(tmp_path / "run")

    assert found[2] == [], "a run whose model could not be written trains no step again"
    assert_equal(found, expected)


def test_a_signal_after_the_last_step_is_heard(tmp_path):
    expected = fit(tmp_path / "run")

    with pytest.raises(signals.Interrupted, match="SIGTERM"):
        fit(tmp_path / "run", on_epoch=lambda _: os.kill(os.getpid(), signal.SIGTERM))

    assert_equal(fit(tmp_path / "run"), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_rank_updates_go_on_to_the_same_bits(tmp_path, dtype):
    low_rank = Lora(rank=2, alpha=8.0, targets=["c_attn", "c_fc"])
    about = {"recipe": RECIPE.model_copy(update={"lora": low_rank}), "low_rank": low_rank, "dtype": dtype}
    expected = fit(None, **about)
    with pytest.raises(Killed):
        fit(tmp_path / "run", die_after=4, **about)

    assert_equal(fit(tmp_path / "run", **about), expected)


def damage(folder: Path, how: str) -> None:
    state, progress = folder / checkpoint.STATE, folder / checkpoint.PROGRESS
    if how == "truncated tensors":
        state.write_bytes(state.read_bytes()[:-1])
    elif how == "one bit":
        data = bytearray(state.read_bytes())
        data[-1] ^= 1
        state.write_bytes(data)
    elif how == "no tensors":
        state.unlink()
    elif how == "truncated progress":
        progress.write_text(progress.read_text()[:-20])
    elif how == "no progress":
        progress.unlink()
    elif how == "foreign":
        progress.write_text(json.dumps(json.loads(progress.read_text()) | {"key": "another"}))
    elif how == "newer format":
        progress.write_text(json.dumps(json.loads(progress.read_text()) | {"format": 99}))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("truncated tensors", "expected SHA-256"),
        ("one bit", "expected SHA-256"),
        ("no tensors", "state.safetensors is missing"),
        ("truncated progress", "not valid JSON"),
        ("no progress", "no such file"),
        ("foreign", "key: expected 'run', found 'another'"),
        ("newer format", "format: expected 1, found 99"),
    ],
)
def test_a_damaged_checkpoint_is_refused_with_a_reason_and_the_one_before_it_used(tmp_path, how, reason):
    expected = fit(None)
    with pytest.raises(Killed):
        fit(tmp_path / "run", die_after=4)
    newest = sorted((tmp_path / "run").iterdir())[-1]
    assert newest.name == "step-00000003"
    damage(newest, how)

    said: list[str] = []
    found = fit(tmp_path / "run", said=said)

    assert_equal(found, expected)
    assert found[2] == [3, 4, 5, 6]
    assert "step-00000003: not used" in said[0]
    assert reason in said[0]
    assert said[1].startswith("going on from")


def test_what_a_death_while_saving_leaves_behind_is_no_checkpoint(tmp_path):
    with pytest.raises(Killed):
        fit(tmp_path / "run", die_after=3)
    shutil.copytree(tmp_path / "run" / "step-00000002", tmp_path / "run" / ".step-00000005.123.tmp")

    assert fit(tmp_path / "run")[2] == [3, 4, 5, 6]


def test_a_second_process_on_the_same_run_trains_without_touching_its_checkpoints(tmp_path):
    expected = fit(None)
    said: list[str] = []
    with checkpoint.Checkpoints(tmp_path / "run", seconds=0, say=print) as first:
        first.save(1, checkpoint.Checkpoint({"x": torch.zeros(3)}, {}))

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


def test_the_next_checkpoint_waits_for_25_times_what_the_last_one_took(tmp_path):
    with checkpoint.Checkpoints(tmp_path / "run", seconds=0, say=print) as checkpoints:
        assert checkpoints.due()

        checkpoints.save(1, checkpoint.Checkpoint({"x": torch.zeros(3)}, {}))

        assert checkpoints._wait > 0
        assert not checkpoints.due()


def test_a_run_s_key_depends_on_every_text_and_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("a")
    keys = [checkpoint.run_key("x", path), checkpoint.run_key("y", path), checkpoint.run_key("x", path, path)]
    path.write_text("b")
    keys.append(checkpoint.run_key("x", path))

    assert len(set(keys)) == 4
    assert checkpoint.run_key("x", path) == keys[-1]


def test_a_signal_is_held_until_it_is_asked_for_and_a_second_one_is_not():
    with signals.deferred_interruption() as pending:
        os.kill(os.getpid(), signal.SIGTERM)
        assert pending.signal == signal.SIGTERM
        with pytest.raises(signals.Interrupted, match="SIGTERM"):
            pending.raise_if_pending()
        with pytest.raises(signals.Interrupted, match="SIGINT"):
            os.kill(os.getpid(), signal.SIGINT)


#: Enough steps that a signal finds one under way, and evaluations and checkpoints between them.
LONGER = {"finetune": {"epochs": 20, "max_steps": 120, "eval_every": 5}}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder in which finetune can be run, and the SHA-256 of what it writes when nobody disturbs it."""
    folder = small_pipeline.make(tmp_path_factory.mktemp("finetune"), overlay=LONGER)
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
        for path in sorted((folder / paths.FINETUNE).rglob("*"))
        if path.is_file()
    }


def disturb(folder: Path, number: signal.Signals, seconds: float) -> tuple[int, str]:
    """Run finetune, and send it a signal so long after its first line about a step."""
    with stage_process(folder, "finetune") as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("step ") or "going on" in line:
                break
        time.sleep(seconds)
        process.send_signal(number)
        output = process.stdout.read()
    return process.returncode, output


def finish(folder: Path, stage: str = "finetune") -> str:
    with stage_process(folder, stage) as process:
        output = process.communicate()[0]
    assert process.returncode == 0, output
    return output


@pytest.mark.parametrize("seconds", [0.3, pytest.param(0.6, marks=pytest.mark.slow)])
def test_sigkill_and_run_again_gives_the_same_files(prepared, seconds):
    folder, expected = prepared
    code, _ = disturb(folder, signal.SIGKILL, seconds)
    assert code == -signal.SIGKILL

    output = finish(folder)

    assert "going on from .cache/finetune/" in output
    assert digests(folder) == expected
    # No checkpoint; what the training has cost.
    assert [path.name for path in (folder / ".cache" / "finetune").iterdir()] == ["ledger.json"]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_saves_and_ends_with_75(prepared, number):
    folder, expected = prepared
    code, output = disturb(folder, number, 0.2)

    assert code == 75, output
    assert f"finetune: stopped by {number.name}; run the same command again" in output
    assert "Traceback" not in output
    assert "going on from" in finish(folder)
    assert digests(folder) == expected


@pytest.mark.slow
def test_thirty_kills_at_random_moments(prepared):
    folder, expected = prepared
    moments = random.Random(0)
    for _ in range(30):
        disturb(folder, signal.SIGKILL, moments.uniform(0, 0.5))

    finish(folder)

    assert digests(folder) == expected
