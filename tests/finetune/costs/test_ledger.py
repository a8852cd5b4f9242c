"""The costs of a run by a clock that is turned by hand, and a run with its costs taken beside one without."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from stages.common.results.finetune import FINETUNE_FOLDER, HISTORY
from stages.finetune import job, trainer
from stages.finetune.costs import work
from stages.finetune.costs.clock import Clock, matmul_rate
from stages.finetune.costs.ledger import Ledger
from stages.finetune.costs.work import Plan, Work
from stages.finetune.training_run import Run
from stages.gpt2 import weights
from stages.gpt2.model import GPT2Config
from stages.gpt2.runtime import Compute
from stages.params import whole
from stages.running import signals
from stages.running.console import duration
from stages.running.costs import TRAINING_COSTS, TrainingCosts
from stages.running.summary_parts.training import cost_lines
from stages.running.tracking import live
from tests import small_pipeline
from tests.finetune.costs.test_work import RECIPE, random_rows

CPU = torch.device("cpu")
ON_CPU = Compute(CPU, torch.float32)
SIZES = GPT2Config(n_layer=1, n_head=1, n_embd=2, n_positions=64, vocab_size=10)


class Hand:
    """Time that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def wait(self, seconds: float) -> None:
        self.seconds += seconds


def planned(steps: int) -> Plan:
    """Steps of 100 operations on 10 tokens each; evaluations of 50 on 5, before, after every second step and last."""
    step = Work(tokens=10, computed=8, padding=2, targets=7, flop=100, plain_flop=150)
    return Plan([step] * steps, Work(tokens=5, computed=5, flop=50, plain_flop=50), work.evaluations(steps, 2))


def run(steps: int, done: int, said: list[str]) -> tuple[Ledger, Hand]:
    """A run that begins 10 s after its process, whose first step takes 4 s, others 2 s, and evaluations 3 s."""
    now = Hand()
    now.wait(10)
    clock = Clock(CPU, now)
    ledger = Ledger(planned(steps), clock, measure=lambda: 100.0, say=said.append, since_start=now)
    evaluate = clock.timed("evaluation", lambda: now.wait(3))
    evaluate()
    for step in range(1, done + 1):
        now.wait(4 if step == 1 else 2)
        if step in planned(steps).evaluated:
            evaluate()
        ledger.step(step)
    return ledger, now


#: What the ledger is told at the end.
ABOUT = {
    "history": "abc",
    "device": "cpu",
    "precision": "fp32",
    "peak_memory_bytes": 5,
    "estimated_memory_bytes": 6,
}


def test_what_a_run_has_cost_worked_by_hand(monkeypatch):
    monkeypatch.setattr("stages.finetune.costs.clock.since_start", lambda: 17.0)
    ledger, _ = run(steps=4, done=4, said=[])

    assert ledger.costs(**ABOUT) == TrainingCosts(
        **ABOUT
        | {
            "steps": 4,
            "evaluations": 3,
            "useful_tokens": 40,
            "computed_tokens": 32,
            "padded_tokens": 8,
            "evaluation_tokens": 15,
            "training_tflop": 400e-12,
            "plain_training_tflop": 600e-12,
            "evaluation_tflop": 150e-12,
            "peak_tflop_per_second": 100e-12,
            # Three steps of 100 operations and 10 tokens in 6 seconds.
            "hfu": 0.5,
            "tokens_per_second": 5.0,
            "seconds": 10 + 4 + 3 * 2 + 3 * 3,
            "steps_before": 0,
            "seconds_before": None,
            "estimated_seconds": None,
            "seconds_to_first_step": 17.0,
            "evaluation_seconds": 9.0,
            "checkpoint_seconds": 0.0,
        }
    )


def test_the_whole_stage_s_time_is_estimated_once_from_the_first_steps():
    said: list[str] = []
    ledger, now = run(steps=100, done=20, said=said)

    # After step 6: 10 + 4 + 5 * 2 + 4 evaluations of 3. Left: 94 steps of 2 and 47 evaluations of 3.
    assert said == ["step 6/100: the stage will take about 6 min 5 s, 5 min 29 s from now"]
    assert ledger.estimated == 36 + 94 * 2 + 47 * 3
    finished, now = run(steps=100, done=100, said=[])
    assert now.seconds == finished.estimated


def test_of_a_stage_that_is_over_with_its_sixth_step_nothing_is_estimated():
    said: list[str] = []
    ledger, _ = run(steps=6, done=6, said=said)

    assert said == []
    assert ledger.estimated is None


def test_an_evaluation_that_was_not_measured_goes_at_the_rate_of_the_steps():
    assert planned(4).seconds_left(2, rate=50.0, evaluation_seconds=None) == 2 * 2.0 + 1.0


def test_a_run_that_went_on_from_a_checkpoint_counts_its_own_steps():
    now = Hand()
    ledger = Ledger(planned(9), Clock(CPU, now), measure=lambda: 100.0, say=[].append, since_start=now)
    for step in (8, 9):
        now.wait(2)
        ledger.step(step)

    costs = ledger.costs(**ABOUT)

    assert (costs.steps, costs.useful_tokens, costs.tokens_per_second) == (2, 20, 5.0)


def costs_with(measured: Iterator[float | Exception], said: list[str]) -> TrainingCosts:
    """Three steps of 100 operations in 2 seconds each: 50 a second."""

    def measure() -> float:
        found = next(measured)
        if isinstance(found, Exception):
            raise found
        return found

    now = Hand()
    ledger = Ledger(planned(3), Clock(CPU, now), measure=measure, say=said.append, since_start=now)
    for step in (1, 2, 3):
        now.wait(2)
        ledger.step(step)
    return ledger.costs(**ABOUT)


def test_a_peak_measured_at_a_busy_moment_makes_no_utilisation_above_1():
    busy_before, busy_after = (costs_with(iter(pair), []) for pair in ((40.0, 80.0), (80.0, 40.0)))
    always = costs_with(iter((40.0, 45.0)), [])

    assert (busy_before.hfu, busy_after.hfu, always.hfu) == (50 / 80, 50 / 80, None)
    assert always.peak_tflop_per_second == 45e-12
    assert cost_lines(always)[1] == (
        "speed            5 tokens/s, HFU not known: the machine was busy when its peak was measured"
    )


def test_a_second_measurement_that_finds_no_memory_fails_no_training():
    said: list[str] = []

    found = costs_with(iter((80.0, torch.OutOfMemoryError("CUDA out of memory.\n Tried 2 GiB"))), said)

    assert found.hfu == 50 / 80
    assert said == [
        "HFU refers to the rate of matrix products before training; none was measured after it: "
        "CUDA out of memory. Tried 2 GiB"
    ]


def test_a_run_of_one_step_has_no_speed():
    costs = run(steps=1, done=1, said=[])[0].costs(**ABOUT)

    assert costs.tokens_per_second is None
    assert costs.hfu is None


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7650, "2 h 7 min")],
)
def test_durations_for_people(seconds, shown):
    assert duration(seconds) == shown


def test_the_rate_of_matrix_products_is_that_of_one_timed_here():
    a = torch.ones(1024, 1024)
    torch.mm(a, a)
    started = time.perf_counter()
    torch.mm(a, a)
    own = 2 * 1024**3 / (time.perf_counter() - started)

    found = matmul_rate(ON_CPU, seconds=0.05)

    # The same product, on a machine that others use as well.
    assert 0.05 < found / own < 20


def test_measuring_changes_no_bit_of_the_weights():
    train, val = random_rows(14, 0), random_rows(5, 1)

    def trained(*, measured: bool) -> str:
        model = weights.initialise(SIZES, seed=0)
        clock = Clock(CPU) if measured else None
        if clock:
            matmul_rate(ON_CPU, seconds=0.01)
        trainer.fit(
            model,
            Run(RECIPE.model_copy(update={"dropout": 0.1}), train, val, "all", ON_CPU),
            on_step=lambda record: clock.step(record.step) if clock else None,
            clock=clock,
        )
        assert clock is None or clock.times == {"evaluation": 3}
        return hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest()

    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    assert trained(measured=True) == trained(measured=False)
    assert torch.equal(torch.rand(1), expected), "the global generator is nobody's to draw from"


def test_a_stage_that_was_stopped_tells_the_time_of_both_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import importlib

    monkeypatch.setenv(live.RUN_ID_VARIABLE, "none")
    monkeypatch.chdir(small_pipeline.make(tmp_path, overlay={"finetune": {"max_steps": 3}}))
    for stage in ("download", "split", "tokenize"):
        importlib.import_module(f"stages.{stage}.__main__").main()

    class Stopping:
        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            if step == 2 and "loss/train" in metrics:
                os.kill(os.getpid(), signal.SIGTERM)

    class Silent:
        def log_metrics(self, metrics: dict[str, float], step: int) -> None: ...

    with pytest.raises(signals.Interrupted):
        job.finetune(whole.load().finetune, Stopping())
    assert not TRAINING_COSTS.exists()
    job.finetune(whole.load().finetune, Silent())

    costs = TrainingCosts.model_validate_json(TRAINING_COSTS.read_text())
    assert (costs.steps_before, costs.steps) == (2, 1)
    assert costs.seconds_before is not None
    assert 0 < costs.seconds_before < costs.seconds  # of one process here, whose time goes on
    assert ", for the last 1 of 3 steps; " in cost_lines(costs)[0]


def test_the_stage_keeps_its_costs_outside_its_outputs_and_its_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import importlib

    monkeypatch.setenv(live.RUN_ID_VARIABLE, "none")
    monkeypatch.chdir(small_pipeline.make(tmp_path, overlay={"finetune": {"max_steps": 3}}))
    for stage in ("download", "split", "tokenize"):
        importlib.import_module(f"stages.{stage}.__main__").main()

    logged: dict[str, float] = {}

    class Tracked:
        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            logged.update(metrics)

    job.finetune(whole.load().finetune, Tracked())

    entry = json.loads(TRAINING_COSTS.read_text())
    history = [json.loads(line) for line in HISTORY.read_text().splitlines()]
    assert entry["useful_tokens"] == history[-1]["tokens_seen"]
    assert (entry["steps"], entry["evaluations"]) == (3, 4)
    assert entry["plain_training_tflop"] > entry["training_tflop"] > entry["evaluation_tflop"] > 0
    assert entry["estimated_memory_bytes"] > 0
    assert entry["peak_memory_bytes"] > 0
    assert entry["history"] == hashlib.sha256(HISTORY.read_bytes()).hexdigest()
    assert logged["loss/train"] == history[-1]["train_loss"]
    assert not [name for name in logged if "tflop" in name or "seconds" in name], "costs are in the ledger alone"
    written = "".join(path.read_text() for path in FINETUNE_FOLDER.glob("*.json*"))
    assert "seconds" not in written
    assert "tflop" not in written
