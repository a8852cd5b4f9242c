"""The memory estimate: by hand, beside real runs, and where memory really is short."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from stages.common.errors import ConfigError
from stages.common.results.tokenize import Encoded
from stages.finetune.costs import memory, work
from stages.finetune.costs.memory import KERNELS, Demand, Estimate
from stages.finetune.team import ALONE, Team
from stages.finetune.training_run import Run
from stages.gpt2 import weights
from stages.gpt2.model import GPT2Config
from stages.gpt2.runtime import Compute
from stages.params.finetune import Lora
from stages.running.console import GIB, size
from tests import small_pipeline
from tests.finetune.costs.test_work import ON_CPU, RECIPE, ROWS, SIZES
from tests.root import ROOT

CPU = torch.device("cpu")
#: How far a real run's peak may be from the estimate, as a share of the estimate.
TOLERANCE = 0.25


def estimate(
    dtype: torch.dtype = torch.float32, *, device: torch.device = CPU, team: Team = ALONE, **changed: object
) -> Estimate:
    return memory.estimate(SIZES, a_run(ROWS, {"batch_size": 3} | changed, Compute(device, dtype), team=team))


def a_run(
    train: list[Encoded],
    changed: dict[str, object],
    compute: Compute = ON_CPU,
    *,
    val: Sequence[Encoded] = (),
    team: Team = ALONE,
) -> Run:
    """A run of one step."""
    return Run(RECIPE.model_copy(update={"max_steps": 1} | changed), train, val, "all", compute, team)


def test_the_estimate_worked_by_hand():
    # 226 weights: (10 + 64 + 2) * 2 in embeddings and last norm, 12 * 4 + 13 * 2 in the layer. The three rows are six
    # tokens with a shared prefix of 2, which is a row too; 6 + 2 queries in the grid, each with 4 keys, whose weights
    # are kept; 7 targets.
    count = sum(parameter.numel() for parameter in weights.initialise(SIZES, seed=0).parameters())
    kept = 4 * (6 * 13 * 2 + 6 * 3 * 2 + (6 + 2) * 4) + 4 * (3 * 6 + 2 * 7) * 2
    # Logits, the head's gradient, and what the backward pass of the only layer takes, which is more than that again.
    loss = 4 * 7 * 10 + 4 * 10 * 2 + kept

    found = estimate()

    assert count == 226
    assert found == Estimate(
        weights=4 * 226,
        masters=0,
        optimizer=8 * 226,
        gradients=4 * 226,
        activations=kept,
        logits=loss,
        held=kept + 4 * 7 * 10,
    )
    assert found.total == 12 * 226 + found.activations + loss + KERNELS


def test_the_estimate_in_bf16_worked_by_hand():
    # The 6 tokens and the 7 target tokens are padded to 32 each. Attention's weights stay in fp32.
    kept = 2 * 32 * (13 + 3) * 2 + 4 * (6 + 2) * 4 + 2 * (3 * 32 + 2 * 32) * 2
    assert estimate(torch.bfloat16) == Estimate(
        weights=2 * 226,
        masters=4 * 226,
        optimizer=8 * 226,
        gradients=2 * 226,
        activations=kept,
        logits=32 * 10 * 2 + 10 * 2 * 2 + kept,
        held=kept + 32 * 10 * 2,
    )


def test_the_logits_of_an_evaluation_stay_beside_smaller_ones_of_the_steps():
    """A micro-batch of one row has 2 or 3 target tokens, and the three rows that are evaluated have 7."""
    without, with_more = (
        memory.estimate(SIZES, a_run(ROWS, {"batch_size": 3, "accumulate": 3}, val=val)) for val in ((), ROWS)
    )
    least = max(len(row.ids) - 1 for row in ROWS)

    assert with_more.logits - without.logits == 4 * 10 * (7 - least)
    assert with_more.held - without.held == 4 * 10 * (7 - least)


def test_where_gradients_take_the_most_what_was_given_back_is_beside_them():
    """On a CPU alone: a GPU's allocator gives it to them."""
    found = Estimate(weights=0, masters=0, optimizer=0, gradients=100, activations=20, logits=40, held=30, kernels=1)

    assert found.total == 100 + 30 + 1
    assert "gradients" in str(found)
    assert "activations and logits" in str(found)
    assert estimate(device=torch.device("cuda")).held == 0


def test_cuda_graphs_want_activations_and_loss_once_more_and_can_be_done_without(monkeypatch):
    def demand() -> Demand:
        return Demand(MIDDLE, a_run(LONG, {}, Compute(torch.device("cuda"), torch.bfloat16)), free=1)

    captured = demand()
    monkeypatch.setenv("PIPELINE_CUDA_GRAPHS", "0")
    plain = demand()

    assert captured.wanted.captured >= plain.wanted.activations + plain.wanted.logits
    assert plain.wanted.captured == 0
    proposed = captured.others()["PIPELINE_CUDA_GRAPHS=0, in the environment and not there"]
    assert proposed == plain.wanted.total == captured.wanted.total - captured.wanted.captured


def test_an_evaluation_worked_by_hand():
    # The same rows, one layer: what a training step keeps of them, but no gradient of the head.
    three = memory.estimate(SIZES, a_run(ROWS, {"batch_size": 3}, val=ROWS))
    assert three.evaluation == three.activations + 4 * 7 * 10

    changed = {"batch_size": 1, "activation_checkpointing": True, "dropout": 0.5}
    many = memory.estimate(SIZES, a_run(ROWS, changed, val=ROWS * 40))
    assert many.evaluation > many.gradients + many.activations + many.logits
    assert many.total == many.weights + many.optimizer + many.evaluation + KERNELS
    assert "evaluation" in str(many)


def test_gradients_stay_between_micro_batches():
    found = estimate(torch.bfloat16, accumulate=3)

    # In bf16 those of the micro-batches before are summed in fp32.
    assert found.gradients == (2 + 4) * 226
    assert found.total == found.weights + found.masters + found.optimizer + found.gradients + (
        found.activations + found.logits + KERNELS
    )


def test_low_rank_updates_want_neither_gradients_nor_moments_of_the_rest():
    # Rank 3 on c_attn [2, 6]: 24 weights.
    found = estimate(lora=Lora(rank=3, alpha=1.0, targets=["c_attn"]))

    assert (found.weights, found.optimizer, found.gradients) == (4 * (226 + 24), 8 * 24, 4 * 24)


def test_early_stopping_keeps_the_best_weights():
    assert estimate(patience=1).masters == 4 * 226


def test_two_whole_models_sum_gradients_in_buckets():
    alone, found = estimate(torch.bfloat16), estimate(torch.bfloat16, team=Team(0, 2))

    assert (found.weights, found.masters, found.optimizer) == (alone.weights, alone.masters, alone.optimizer)
    assert (found.gradients, found.buckets) == ((2 + 4) * 226, 2 * 226)
    # The process that wants more has the rows of 3 and 4 inputs, five tokens after a prefix of 2, padded to 32.
    assert found.logits - found.activations == alone.logits - alone.activations


def test_shares_of_a_model_worked_by_hand():
    found = estimate(torch.bfloat16, team=Team(0, 2, sharded=True))

    # With a single layer all are there at a time.
    assert found.weights == 2 * 226 + 4 * 226
    assert (found.masters, found.optimizer) == (4 * 226 // 2, 8 * 226 // 2)
    assert found.gradients == 4 * 226 // 2 + (2 + 4) * 226
    on_a_gpu = estimate(torch.bfloat16, device=torch.device("cuda"), team=Team(0, 2, sharded=True))
    assert on_a_gpu.weights == 2 * 226


MEASURE = """
import contextlib, json, sys
from pathlib import Path
import torch

from stages.gpt2 import weights
from stages.gpt2.model import GPT2Config
from stages.finetune.costs import memory
from stages.finetune import trainer
from stages.finetune.checkpoint import Checkpoints
from stages.finetune.team import join, leave
from stages.common.results.tokenize import Encoded
from stages.finetune.training_run import Run
from stages.running import machine
from stages.gpt2.runtime import Compute
from tests.finetune.costs.test_work import RECIPE

sizes = GPT2Config(**json.loads(sys.argv[1]))
dtype = getattr(torch, sys.argv[2])
team = join(int(sys.argv[3]), sharded=sys.argv[4] == "fsdp")
recipe = RECIPE.model_copy(update={"batch_size": 8, "max_steps": 2})
generator = torch.Generator().manual_seed(0)
lengths = torch.randint(60, 120, (16,), generator=generator).tolist()
rows = [
    Encoded(id=str(n), ids=torch.randint(50257, (n,), generator=generator).tolist(), prompt_length=9) for n in lengths
]
run = Run(recipe, rows, rows[:2], "all", Compute(torch.device("cpu"), dtype), team)
wanted = memory.estimate(sizes, run).total
before = memory.taken(torch.device("cpu"))
model = weights.initialise(sizes, seed=0)
checkpoints = None
with contextlib.ExitStack() as stack:
    if team.size > 1:
        checkpoints = Checkpoints(Path(sys.argv[5]), seconds=0, say=print)
        if team.leads:
            stack.enter_context(checkpoints)
    trainer.fit(model, run, on_step=lambda _: None, checkpoints=checkpoints)
    assert team.size == 1 or list(Path(sys.argv[5]).iterdir())
print(wanted, machine.peak_resident() - before, flush=True)
leave()
"""


def child(code: str, *arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PIPELINE_MLFLOW_RUN_ID": "none"}
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param({"n_layer": 4, "n_head": 4, "n_embd": 128, "n_positions": 256}, id="7 million weights"),
        pytest.param(
            {"n_layer": 6, "n_head": 6, "n_embd": 384, "n_positions": 256},
            id="30 million weights",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_real_run_s_peak_is_near_the_estimate(sizes):
    done = child(MEASURE, json.dumps(sizes), "float32", "1", "ddp")

    assert done.returncode == 0, done.stderr
    wanted, measured = map(int, done.stdout.split())
    assert measured == pytest.approx(wanted, rel=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_peak_of_a_team_s_first_process_is_near_the_estimate(tmp_path, parallel, dtype):
    sizes = json.dumps({"n_layer": 6, "n_head": 6, "n_embd": 384, "n_positions": 256})
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MEASURE, sizes, dtype, "2", parallel, str(tmp_path / "checkpoints")],
            env=os.environ
            | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PIPELINE_RENDEZVOUS": str(tmp_path / "rendezvous")}
            | {"TORCHELASTIC_RUN_ID": "test", "RANK": str(rank), "WORLD_SIZE": "2"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=300)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    wanted, measured = map(int, said[0].split())
    assert measured == pytest.approx(wanted, rel=TOLERANCE)


#: About 1.5 GiB in one micro-batch: 16 rows of 400 tokens.
MIDDLE = GPT2Config(n_layer=12, n_head=4, n_embd=256, n_positions=512)
LONG = [ROWS[0].model_copy(update={"id": str(n), "ids": [n, *range(399)]}) for n in range(16)]


def demand(there: int, **changed: object) -> Demand:
    return Demand(MIDDLE, a_run(LONG, {"batch_size": 16} | changed), free=there)


def test_what_fits_is_told_in_lines_of_the_usual_width():
    first, *more = str(demand(100 * GIB)).splitlines()

    assert first.startswith("memory: about ")
    assert (more or [first])[-1].endswith(" 100.0 GiB are free")
    assert all(line.startswith("  ") for line in more)
    assert max(map(len, [first, *more])) <= 120


def test_what_does_not_fit_is_told_with_the_mildest_values_that_do():
    wanted = demand(0).wanted.total
    others = demand(wanted - GIB // 2).others()
    text = str(demand(wanted - GIB // 2))

    by_micro_batches = {value: demand(0, accumulate=value).wanted.total for value in (2, 4, 8, 16)}
    fitting = next(value for value, total in by_micro_batches.items() if total <= wanted - GIB // 2)
    assert others[f"finetune.accumulate: {fitting}"] == by_micro_batches[fitting]
    assert others["finetune.batch_size: 8"] == demand(0, batch_size=8).wanted.total
    assert others["finetune.activation_checkpointing: true"] < wanted
    assert others["finetune.lora: {rank: 16, alpha: 16, targets: [c_attn]}"] < wanted
    for change, total in others.items():
        assert f"  - {change}: about {size(total)}" in text
    assert "or take a smaller model (download.model) or a machine with more memory" in text


def test_where_nothing_is_enough_the_strictest_values_are_told_as_such():
    found = demand(1)

    assert "  - finetune.accumulate: 16: about " in found.advice()
    assert "  - finetune.batch_size: 1: about " in found.advice()
    assert found.advice().count("still more than is free") == 4


def test_values_that_the_recipe_has_already_are_not_proposed():
    low_rank = Lora(rank=2, alpha=1.0, targets=["c_fc"])
    found = demand(1, batch_size=1, activation_checkpointing=True, lora=low_rank)

    assert found.advice() == "take a smaller model (download.model) or a machine with more memory"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_a_shortage_becomes_an_error_that_says_what_to_lower(error):
    expected = r"out of memory: fine-tuning wants about 2\.0 GiB"
    with pytest.raises(ConfigError, match=expected) as caught, demand(1).explained():
        raise error

    assert "finetune.batch_size: 1" in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), OSError(errno.ENOSPC, "No space left"), KeyError("a")]
)
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as caught, demand(1).explained():
        raise error

    assert caught.value is error


SHORT = """
import resource
from stages.finetune import __main__ as finetune
from stages.running import program
from stages.gpt2 import weights
from stages.finetune import checkpoint, lora, outputs, trainer
from stages.finetune.costs import memory
from stages.prompts import prompt

ROOM = 250 << 20  # the model of 52 MB fits, its training does not
used = memory.psutil.Process().memory_info().vms
resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
program.run("finetune", finetune.main)
"""


@pytest.mark.thorough
def test_a_stage_that_runs_out_of_memory_says_what_to_lower_without_a_traceback(tmp_path, monkeypatch):
    import importlib

    overlay = {"download": {"model": {"n_embd": 256, "n_head": 4}}, "finetune": {"batch_size": 16}}
    monkeypatch.chdir(small_pipeline.make(tmp_path, overlay=overlay))
    for stage in ("download", "split", "tokenize"):
        importlib.import_module(f"stages.{stage}.__main__").main()

    done = child(SHORT, folder=tmp_path)

    assert done.returncode == ConfigError.exit_code == 78, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "That may not be enough" in done.stdout
    assert done.stderr.startswith("finetune: out of memory: fine-tuning wants about 0.")
    assert "to fix it: set one of these in params.yaml:" in done.stderr
    assert "finetune.lora: {rank: 16, alpha: 16, targets: [c_attn]}: about " in done.stderr
    assert not (tmp_path / "artifacts" / "finetune").exists()


def test_a_program_that_runs_out_of_memory_elsewhere_says_so_without_a_traceback(tmp_path):
    done = child(
        "from stages.running import program\nprogram.run('split', lambda: bytearray(1 << 62))", folder=tmp_path
    )

    assert done.returncode == 75
    assert done.stderr == ("split: out of memory; end what else uses this machine's, and run the same command again\n")


def test_what_one_pass_for_the_work_sees_gives_the_same_estimate() -> None:
    run = a_run(ROWS * 5, {"batch_size": 3, "accumulate": 2}, val=ROWS)
    peaks = memory.Peaks(SIZES, run)

    work.plan(run, SIZES, seen=peaks.add)

    assert memory.estimate(SIZES, run, peaks) == memory.estimate(SIZES, run)
    assert peaks.kept > peaks.at_the_loss > 0
