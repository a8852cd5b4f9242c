"""Several processes train as one does, and end together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from stages.common import paths
from stages.finetune import launch
from tests import small_pipeline
from tests.finetune.test_checkpoint import digests, finish, stage_process
from tests.root import ROOT

#: Run by two processes: train alone and together in both ways, and print the histories. Five rows a batch do not divide
#: evenly, and the last batch of an epoch has one row for two processes.
TRAIN_TOGETHER = """
import contextlib, json, sys
from pathlib import Path
import torch
from stages.params.finetune import Finetune
from stages.gpt2 import weights
from stages.finetune import lora, team, trainer
from stages.finetune.checkpoint import Checkpoints
from tests.finetune.test_trainer import RECIPE, TINY, TRAIN, a_run

options = json.loads(sys.argv[1]) | {"batch_size": 5, "drop_last": False}
recipe = Finetune.model_validate(RECIPE.model_dump() | options)
rows = TRAIN[:11]
said = []
both = team.join(2, sharded=False)
for mode, member in {
    "alone": team.ALONE,
    "ddp": both,
    "fsdp": team.Team(both.rank, 2, sharded=True),
    "as on GPUs": both,
}.items():
    if mode == "as on GPUs":
        trainer.steps_ahead = lambda _: 1
    model = weights.initialise(TINY, seed=0)
    if recipe.lora:
        lora.attach(model, recipe.lora, seed=1)
    # Nothing can be written where its folder would be.
    checkpoints = None if mode == "alone" else Checkpoints(Path(sys.argv[3]), seconds=0, say=said.append)
    if checkpoints:
        checkpoints.due = lambda: True
    with checkpoints if checkpoints and member.leads else contextlib.nullcontext():
        run = a_run(recipe, train=rows, dtype=getattr(torch, sys.argv[2]), team=member)
        trained = trainer.fit(model, run, on_step=lambda _: None, checkpoints=checkpoints)
    if both.rank == 0:
        norm = sum(weight.square().sum() for weight in model.parameters()).item()
        history = [{k: v for k, v in vars(record).items() if v is not None} for record in trained.history]
        print(json.dumps({"mode": mode, "history": history, "kept": trained.kept_step, "norm": norm}), flush=True)
assert bool(said) == (both.rank == 0) and all("no checkpoint of step" in line for line in said), said
team.leave()
"""


def train_together(folder: Path, options: dict[str, object], dtype: str = "float32") -> dict[str, dict[str, object]]:
    processes = []
    (folder / "run").write_text("a file where the folder of checkpoints should be")
    for rank in (0, 1):
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "PIPELINE_RENDEZVOUS": str(folder / "rendezvous"),
            "TORCHELASTIC_RUN_ID": "test",
            "RANK": str(rank),
            "WORLD_SIZE": "2",
        }
        command = [sys.executable, "-c", TRAIN_TOGETHER, json.dumps(options), dtype, str(folder / "run")]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return {found["mode"]: found for found in map(json.loads, said[0].splitlines())}


@pytest.mark.parametrize(
    "options",
    [
        {"clip_norm": 0.5, "accumulate": 2, "dropout": 0.2},
        pytest.param({"clip_norm": 0.5, "accumulate": 2}, marks=pytest.mark.slow),
        pytest.param({"patience": 3, "eval_every": 1, "learning_rate": 0.002, "epochs": 4}, marks=pytest.mark.slow),
        pytest.param({"activation_checkpointing": True, "decay": "matrices"}, marks=pytest.mark.slow),
        pytest.param({"lora": {"rank": 2, "alpha": 8.0, "targets": ["c_attn", "c_fc"]}}, marks=pytest.mark.slow),
        pytest.param(
            {"lora": {"rank": 2, "alpha": 8.0, "targets": ["c_proj"]}, "accumulate": 2}, marks=pytest.mark.slow
        ),
    ],
)
def test_two_processes_have_the_losses_of_one(tmp_path, options):
    found = train_together(tmp_path, options)

    alone = found.pop("alone")
    assert list(found) == ["ddp", "fsdp", "as on GPUs"]
    for together in found.values():
        assert len(together["history"]) == len(alone["history"]) > 4
        for ours, theirs in zip(together["history"], alone["history"], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-5)
        assert together["kept"] == alone["kept"]
        assert together["norm"] == pytest.approx(alone["norm"], rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"accumulate": 2, "clip_norm": 0.5}])
@pytest.mark.slow
def test_two_processes_in_bf16_have_the_losses_of_one(tmp_path, options):
    # Each rounds its own part of a gradient to 8 bits; only their sum is in fp32.
    found = train_together(tmp_path, options | {"epochs": 4}, "bfloat16")

    alone = found.pop("alone")
    for together in found.values():
        for ours, theirs in zip(together["history"], alone["history"], strict=True):
            assert ours.keys() == theirs.keys()
            for name, value in theirs.items():
                assert ours[name] == pytest.approx(value, rel=0.05 if name == "grad_norm" else 0.01)
        assert together["norm"] == pytest.approx(alone["norm"], rel=1e-3)
    assert alone["history"][-1]["train_loss"] < alone["history"][1]["train_loss"] - 0.1


def prepare(folder: Path, parallel: str) -> dict[str, str]:
    """Make a folder in which two processes train, and return the SHA-256 of what they write undisturbed."""
    recipe = {"epochs": 80, "max_steps": 240, "eval_every": 5, "devices": 2, "parallel": parallel}
    small_pipeline.make(folder, overlay={"finetune": recipe})
    for stage in ("download", "split", "tokenize"):
        finish(folder, stage)
    output = finish(folder)
    assert f"2 processes ({parallel})" in output
    assert output.count("step 5/240") == 1
    # The process that began all has removed the checkpoints.
    assert [path.name for path in (folder / paths.CACHE / "finetune").iterdir()] == ["ledger.json"]
    return digests(folder)


def kill_one(folder: Path, rank: str, number: signal.Signals) -> tuple[int, str]:
    """Run finetune, and send one of its processes a signal when there is a checkpoint."""
    with stage_process(folder, "finetune") as process:
        while not list((folder / paths.CACHE / "finetune").glob("*/step-*")):
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.05)
        family = psutil.Process(process.pid).children(recursive=True)
        members = {child.environ().get("RANK"): child for child in family if "stages.finetune" in child.cmdline()}
        (members[rank] if rank else process).send_signal(number)
        # Long before torchrun's agent, half a minute later, would kill one that hangs on its way out.
        output = process.communicate(timeout=25)[0]
    assert not psutil.wait_procs(family, timeout=30)[1]
    return process.returncode, output


@pytest.mark.parametrize(
    ("parallel", "rank", "number"),
    [
        ("ddp", "1", signal.SIGKILL),
        ("ddp", "", signal.SIGTERM),
        ("ddp", "", signal.SIGKILL),
        ("fsdp", "0", signal.SIGKILL),
    ],
)
@pytest.mark.slow
def test_where_one_process_is_killed_all_stop_and_the_next_run_goes_on(tmp_path, parallel, rank, number):
    expected = prepare(tmp_path, parallel)

    code, output = kill_one(tmp_path, rank, number)

    assert code == (-signal.SIGKILL if not rank and number == signal.SIGKILL else 75), output
    assert "Traceback" not in output
    assert "run the same command again" in output
    output = finish(tmp_path)
    assert output.count("going on from") == 1
    assert digests(tmp_path) == expected


@pytest.mark.parametrize(
    ("codes", "expected", "text"),
    [
        ({0: 75, 1: 65}, 65, "process 1 of 2 has ended with exit code 65"),
        ({0: 74, 1: -15}, 74, "process 0 of 2 has ended with exit code 74"),
        ({0: 75, 1: -9}, 75, "process 1 of 2 was ended by SIGKILL"),
        ({0: -15, 1: 75}, 75, "process 0 of 2 was ended by SIGTERM"),
    ],
)
def test_the_exit_code_is_that_of_the_process_that_failed_first_by_itself(codes, expected, text):
    failure = launch._failure(codes, 2)

    assert failure.exit_code == expected
    assert text in str(failure)


def test_a_process_that_the_kernel_killed_for_memory_is_not_run_again():
    failure = launch._failure({0: 75, 1: -signal.SIGKILL}, 2, memory_short=True)

    assert failure.exit_code == 78
    assert "process 1 of 2 was killed by the kernel as memory was short" in str(failure)
    # Another's shortage is not this one's.
    assert launch._failure({0: 65, 1: 75}, 2, memory_short=True).exit_code == 65
    assert launch._failure({0: 75, 1: -signal.SIGTERM}, 2, memory_short=True).exit_code == 75


def test_the_kernel_tells_how_many_processes_it_has_killed_for_memory():
    assert launch._killed_for_memory() >= 0


#: The stage's own process, which has two others train; in their last second somebody edits a value, or nobody does.
_EDITED = """
import sys
from pathlib import Path
from stages.finetune import job, launch
from stages.params.finetune import Finetune
from stages.running import program

def trained(*_, **__):
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("  devices: 2", f"  devices: {sys.argv[1]}"))
    return Path(".cache/finetune/key")

launch.run = trained
program.run("finetune", lambda: job.run(program.section(Finetune), 0))
"""


@pytest.mark.thorough
@pytest.mark.parametrize(("then", "code", "left"), [("3", 75, ["key"]), ("2", 0, [])])
def test_checkpoints_stay_where_a_value_was_edited_in_the_last_second(tmp_path, then, code, left):
    """DVC does not record the result, and the same command takes what is done once the value is put back."""
    small_pipeline.make(tmp_path, overlay={"finetune": {"devices": 2}})
    (tmp_path / "dvc.yaml").write_text("stages: {finetune: {cmd: python -m stages.finetune, params: [finetune]}}")
    (tmp_path / ".cache" / "finetune" / "key" / "step-00000005").mkdir(parents=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PIPELINE_MLFLOW_RUN_ID": "none", "DVC_STAGE": "finetune"}
    command = [sys.executable, "-c", _EDITED, then]

    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == code, done.stderr
    assert ("finetune.devices was 2 when the stage began, and is 3 now" in done.stderr) == bool(code)
    assert [path.name for path in (tmp_path / ".cache" / "finetune").iterdir()] == left


@pytest.mark.thorough
def test_a_wrong_number_of_processes_is_an_error(tmp_path):
    small_pipeline.make(tmp_path, overlay={"finetune": {"devices": 2}})
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PIPELINE_MLFLOW_RUN_ID": "none",
        "TORCHELASTIC_RUN_ID": "test",
        "RANK": "0",
        "WORLD_SIZE": "3",
    }
    command = [sys.executable, "-m", "stages.finetune"]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert found.returncode == 78
    assert "finetune.devices is 2, and torchrun has started 3 processes" in found.stderr
    assert "Traceback" not in found.stderr
