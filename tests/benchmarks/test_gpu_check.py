"""The figures of the check of a GPU beside their goals."""

from __future__ import annotations

import pytest
import torch

from benchmarks import finetune, gpu_check, task
from benchmarks.results import AnsweringFigures, AnsweringJob, AnsweringRatios, AnsweringReport
from stages.common.errors import ConfigError
from tests.benchmarks.test_finetune import FLOOR, MACHINE, run, spread


def trained(tmp_path, **peers):
    """A report of three steps: of ours, each in 2 and 3 s, and of peers."""
    folder = tmp_path / "task"
    task.make(folder, model="tiny", data=task.DATA, warmup=1, steps=2)
    given = task.read(folder)
    return finetune.summed_up("cpu", given, MACHINE, FLOOR, {"ours": [run()], **peers}, {})


def answered(*speeds):
    """A report of 110 answers in 1.5 s, and of transformers at some batch sizes."""
    figures = AnsweringFigures(
        precision="bf16",
        versions={},
        rows_answered=110,
        seconds=spread(1.5, 1.5, 1.5),
        tokens_per_s=spread(9, 9, 9),
        setup_s=spread(1, 1, 1),
        peak_memory_bytes=1,
        cores_of_others=0,
        same_answers=1,
    )
    ratios = {
        f"transformers, batch {16 << place}": AnsweringRatios(speed=spread(speed, speed, speed), memory=spread(1, 1, 1))
        for place, speed in enumerate(speeds)
    }
    job = AnsweringJob(model="tiny", data="d", rows=110, tokens=1000, repeats=1, device="cuda")
    return AnsweringReport(job=job, machine=MACHINE, contenders={"ours": figures}, ratios=ratios, not_run={}, runs={})


def test_a_peer_counts_at_its_fastest(tmp_path):
    slow, fast = run(window_s=100.0), run(window_s=15.0, peak_memory_bytes=2**29)
    report = trained(tmp_path, book=[slow], transformers=[slow], **{"transformers-padding-free": [fast]})
    found = {one.what: (one.found, one.met) for one in gpu_check.findings(report, answered(9.0, 1.9))}
    steps = f"{report.job.total_steps} steps"
    assert found == {
        steps: (f"{2.5 * report.job.total_steps:.2f} s", False),
        "training, beside the book": ("20.00x", True),
        "training, beside transformers": ("3.00x", True),
        "memory of transformers-padding-free to ours": ("0.50x", False),
        "110 answers": ("1.50 s", True),
        "answering, beside transformers": ("1.90x", False),
    }


def test_a_peer_that_did_not_run_misses_its_goal(tmp_path):
    found = {one.what: (one.found, one.met) for one in gpu_check.findings(trained(tmp_path), answered())}
    assert found["training, beside the book"] == ("did not run", False)
    assert found["memory of the fastest peer to ours"] == ("did not run", False)
    assert found["answering, beside transformers"] == ("did not run", False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a GPU")
def test_without_a_gpu_the_try_on_the_cpu_is_named(tmp_path):
    with pytest.raises(ConfigError, match="torch sees no GPU") as refused:
        gpu_check.main(["--out", str(tmp_path / "out")])
    assert str(refused.value.fix).startswith("python -m benchmarks.gpu_check --device cpu")
    assert not (tmp_path / "out").exists()
