"""What fine-tuning takes, as far as sizes alone say it: before a row is there."""

from __future__ import annotations

import json

import pytest

from stages.common.records import write_metrics
from stages.common.results.tokenize import TOKENS_METRICS
from stages.finetune import checkpoint, preflight
from stages.finetune.costs import disk
from stages.finetune.costs.weights import Weights
from stages.gpt2 import weights
from stages.gpt2.model import GPT2Config
from stages.params import reading, whole
from stages.params.finetune import Lora
from stages.running import machine
from stages.running.costs import TRAINING_COSTS, TrainingCosts
from tests import small_disks, small_pipeline
from tests.root import ROOT


def params(**finetune):
    tree = small_pipeline.read_yaml(ROOT / "params.yaml")
    reading.merge(tree, {"finetune": finetune})
    return whole.check(tree)


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def look(**finetune):
    return {row.name: row for row in preflight.rows(params(**finetune))}


def test_the_weights_are_those_of_the_model():
    found = params()
    sizes = found.download.model
    config = GPT2Config(sizes.n_layer, sizes.n_head, sizes.n_embd, sizes.n_positions)
    count = sum(parameter.numel() for parameter in weights.initialise(config, seed=0).parameters())

    assert Weights.of(sizes, found.finetune, vocab_size=config.vocab_size).trained == count == 6_862_464


def test_checkpoints_on_disk_are_those_that_training_keeps():
    assert disk.AT_ONCE == checkpoint.KEPT + 1


def test_memory_and_disk_of_the_quick_profile():
    rows = look()

    # 16 bytes a weight are 104.7 MiB; a checkpoint of 12 is 79 MiB.
    assert rows["finetune memory"].found.startswith("6,862,464 weights take 0.1 GiB at least")
    assert rows["finetune disk"].found.startswith(
        "up to 0.2 GiB for checkpoints, 3 of 79 MiB, and 26 MiB for the model"
    )
    assert rows["finetune time"].found.startswith("not known beforehand")
    assert {row.state for row in rows.values()} == {"ok"}


def test_a_machine_with_too_little_memory_is_warned(monkeypatch):
    monkeypatch.setattr(machine, "free_memory", lambda: 100 << 20)

    assert look()["finetune memory"].state == "warning"
    # Frozen weights take a quarter of it.
    lora = Lora(rank=4, alpha=4.0, targets=["c_attn"]).model_dump()
    assert look(lora=lora)["finetune memory"].state == "ok"


def test_a_disk_that_is_too_small_is_told_before_anything_runs(tmp_path, monkeypatch):
    for size, state in (("20m", "problem"), ("100m", "warning")):
        with small_disks.small(tmp_path / size, size):
            monkeypatch.chdir(tmp_path / size)
            row = look()["finetune disk"]
            monkeypatch.chdir(tmp_path)
        assert row.state == state, size
        assert row.exit_code == (74 if state == "problem" else 0)


def test_the_time_is_that_of_the_last_training_by_its_rate():
    counts = {"rows": 100, "tokens": 5000, "prompt_tokens": 1, "longest": 80, "over_context": [], "dropped": []}
    TOKENS_METRICS.parent.mkdir(parents=True)
    TOKENS_METRICS.write_text(json.dumps(dict.fromkeys(("train", "test", "val"), counts)))
    figures = dict.fromkeys(TrainingCosts.model_fields, 0) | {"history": "", "device": "cpu", "precision": "fp32"}
    figures |= {"hfu": None, "tokens_per_second": None, "estimated_seconds": None, "seconds_to_first_step": None}
    TRAINING_COSTS.parent.mkdir(parents=True)
    write_metrics(TRAINING_COSTS, TrainingCosts(**figures | {"plain_training_tflop": 2.0, "seconds": 10.0}))

    # 6 * 6,862,464 operations a token, of 2 epochs of 5,000 tokens: 0.4117 TFLOP, at 0.2 a second.
    assert look(epochs=2)["finetune time"].found.startswith("about 2 s, ")
    assert look(epochs=20)["finetune time"].found.startswith("about 21 s, ")
    # 10 steps of 24 rows, with 50 tokens each: 0.4941 TFLOP.
    assert look(epochs=20, max_steps=10, warmup_steps=0)["finetune time"].found.startswith("about 2 s, ")

    TOKENS_METRICS.unlink()
    told = look(epochs=2)["finetune time"].found
    assert told == "not known beforehand: no rows are tokenised in this folder yet; it is told after six steps"
