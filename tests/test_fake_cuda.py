"""PyTorch's code for GPUs under ours, on a CUDA runtime whose kernels do nothing (tests/fake_cuda.c).

No results are seen here, but everything else is: that nothing in a capture waits or reaches outside it, how many
kernels it has, and which. The tests need gcc and an interpreter with the project's packages and torch for CUDA 13, with
or without a GPU:

    FAKE_CUDA_PYTHON=.venv-cuda/bin/python python -m pytest -m slow tests/test_fake_cuda.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.small_pipeline import ROOT

PYTHON = os.environ.get("FAKE_CUDA_PYTHON", sys.executable if (torch.version.cuda or "").startswith("13.") else None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON is None, reason="FAKE_CUDA_PYTHON names no interpreter with torch for CUDA 13"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc"),
]
LAYERS = 4

#: A number that a kernel would have written is whatever its memory held, so that none is checked.
PREPARE = f"""
import math, torch
from stages.gpt2 import decoding, runtime, weights
from stages.gpt2.model import GPT2Config
from stages.finetune import captured_steps, optimizer_step, trainer
from tests.finetune.test_trainer import a_run, changed, made_rows

device = runtime.prepare()
assert torch.cuda.get_device_name(device) == "Fake H100"
model = weights.initialise(GPT2Config({LAYERS}, 2, 128, 64, 40), seed=0).to(device)
read = trainer._Enqueued.read
trainer._Enqueued.read = lambda enqueued: (read(enqueued)[0], False)
math.isfinite = lambda _: True
captured_steps.TOLERANCE = math.inf
"""
TRAIN = """
history = []
recipe = changed(**{{"epochs": 6}} | {changes})
run = a_run(recipe, train=made_rows(24), dtype=torch.{dtype}, device="cuda")
trainer.fit(model, run, on_step=history.append)
print(len(history) - 1, sum(record.val_loss is not None for record in history))
"""
ANSWER = """
prompts = [[3, 1, 4, 1, *range(length)] for length in range(1, 20)]
how = decoding.Decoding(-1, max_new_tokens=40, batch_size=8)
made = decoding.generate(decoding.prepare(model.to(torch.{dtype})), prompts, how)
print(sum(len(answer.ids) for _, answer in made))
"""


@dataclass
class Seen:
    """What a program printed, and what the runtime saw of it."""

    said: str
    warned: str
    lines: list[tuple[str, str]]

    def all(self, what: str) -> list[str]:
        return [rest for name, rest in self.lines if name == what]

    @property
    def captures(self) -> list[tuple[int, int]]:
        """Kernels and products of each capture."""
        return [(int(kernels), int(products)) for kernels, products in map(str.split, self.all("capture"))]

    def kernels(self, capture: int) -> Counter[str]:
        """The kernels of one capture, by name."""
        found = (line.split(" ", 1) for line in self.all("kernel"))
        return Counter(name for number, name in found if int(number) == capture)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory) -> Path:
    """The folder of the runtime, built."""
    folder = tmp_path_factory.mktemp("fake_cuda")
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.check_output([str(PYTHON), "-c", where], text=True).strip())
    headers = [packages / "nvidia/cu13/include", packages / "triton/backends/nvidia/include"]
    built = folder / "libcuda.so.1"
    options = ["-std=gnu11", "-O1", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", *(f"-I{path}" for path in headers)]
    subprocess.run(["gcc", *options, "-o", str(built), str(ROOT / "tests/fake_cuda.c"), "-lpthread"], check=True)
    return folder


def run(folder: Path, program: str, told: str | None = None, **environment: str) -> Seen:
    """Run a program on the runtime; a capture may fail only where ``told`` is the warning expected."""
    report = folder / "report"
    made = subprocess.run(
        [str(PYTHON), "-c", PREPARE + program],
        env=os.environ
        | {
            "LD_PRELOAD": str(folder / "libcuda.so.1"),
            "LD_LIBRARY_PATH": str(folder),
            "FAKE_CUDA_REPORT": str(report),
            "PYTHONPATH": str(ROOT),
        }
        | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert told in made.stderr if told else "not captured" not in made.stderr
    assert "AccumulateGrad" not in made.stderr, "gradients accumulate on another stream than that of the capture"
    lines = [line.split(" ", 1) for line in report.read_text().splitlines()]
    return Seen(made.stdout, made.stderr, [(line[0], line[1]) for line in lines])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "changes", [{}, {"dropout": 0.1}, {"accumulate": 2}, {"clip_norm": 1.0, "decay": "matrices", "schedule": "cosine"}]
)
def test_all_of_a_step_is_captured(runtime, changes, dtype):
    seen = run(runtime, TRAIN.format(changes=changes, dtype=dtype))

    assert (seen.all("refused"), seen.all("stray")) == ([], [])
    steps, evaluations = map(int, seen.said.split())
    [replays] = map(int, seen.all("replays"))
    # The first of each shape runs eagerly.
    assert replays == steps + evaluations - len(seen.captures)


def test_the_host_waits_for_a_step_s_numbers_alone(runtime):
    waits, events = [], []
    for epochs in (6, 12):
        changes = {"epochs": epochs, "eval_every": 1000}
        seen = run(runtime, TRAIN.format(changes=changes, dtype="bfloat16"))
        waits += map(int, seen.all("waits"))
        events += map(int, seen.all("events"))

    assert waits[1] == waits[0], "for all that is enqueued on a stream, the next step too"
    assert events[1] == events[0] + 6 * 6


def test_a_step_has_few_kernels_and_those_of_flash_attention(runtime):
    seen = run(runtime, TRAIN.format(changes={}, dtype="bfloat16"))

    kernels, products = seen.captures[0]
    assert products == 12 * LAYERS + 4
    assert kernels <= 34 * LAYERS + 60
    names = seen.kernels(0)
    assert sum(number for name, number in names.items() if "flash_fwd" in name) == LAYERS
    assert sum(number for name, number in names.items() if "flash_bwd_dq_dk_dv" in name) == LAYERS
    assert not [name for name in names if "softmax" in name or "fmha" in name or "masked_fill" in name]


def test_nothing_is_captured_where_it_is_not_wanted(runtime):
    seen = run(runtime, TRAIN.format(changes={}, dtype="bfloat16"), PIPELINE_CUDA_GRAPHS="0")

    assert seen.captures == []
    assert len(seen.said.split()) == 2


def test_evaluations_alone_are_captured_where_activations_are_recomputed(runtime):
    seen = run(runtime, TRAIN.format(changes={"activation_checkpointing": True}, dtype="bfloat16"))

    assert [products for _, products in seen.captures] == [4 * LAYERS + 2]


LOOKING = """
gradient = optimizer_step.OptimizerStep.gradient
optimizer_step.OptimizerStep.gradient = lambda *arguments: [one + 0 * one.item() for one in gradient(*arguments)]
captured_steps.TOLERANCE = math.inf
"""


def test_why_something_is_not_captured_is_told_and_the_stream_is_as_before(runtime):
    after = "assert torch.cuda.current_stream() == torch.cuda.default_stream()"
    seen = run(
        runtime, LOOKING + TRAIN.format(changes={}, dtype="bfloat16") + after, told="training steps are not captured"
    )

    assert "operation not permitted when stream is capturing" in seen.warned
    assert seen.all("refused") == ["cudaStreamSynchronize"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_decoding_steps_are_captured_with_few_kernels(runtime, dtype):
    seen = run(runtime, ANSWER.format(dtype=dtype))

    assert seen.said.split() == [str(19 * 40)]
    assert (seen.all("refused"), seen.all("stray")) == ([], [])
    assert seen.captures
    for kernels, products in seen.captures:
        assert products == 4 * LAYERS + 1
        assert kernels <= 9 * LAYERS + 15
    assert int(seen.all("replays")[0]) > 60
