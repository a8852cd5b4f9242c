"""What fine-tuning takes, as far as sizes alone say it: before a row is there."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.records import write_metrics
from stages.common.results.tokenize import TOKENS_METRICS
from stages.finetune import checkpoint, preflight
from stages.finetune.costs import disk, ledger, work
from stages.finetune.costs.weights import Weights
from stages.gpt2 import weights
from stages.gpt2.model import GPT2Config
from stages.params import reading, whole
from stages.params.finetune import Lora
from stages.running import machine
from stages.running.costs import TRAINING_COSTS
from tests import results, small_disks, small_pipeline
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


def tokenised(*, rows: int, tokens: int) -> None:
    counts = {"rows": rows, "tokens": tokens, "prompt_tokens": 1, "longest": 80, "over_context": [], "dropped": []}
    TOKENS_METRICS.parent.mkdir(parents=True, exist_ok=True)
    TOKENS_METRICS.write_text(json.dumps(dict.fromkeys(("train", "test", "val"), counts)))


def trained(**costs) -> None:
    """A training of 100 steps: 4,000 tokens at 50 a second, 3 evaluations of 2 s, and 9 s for all else.

    Its 0.1647 TFLOP are 6 * 6,862,464 operations a token, as a model of the same size has.
    """
    its = {"steps": 100, "evaluations": 3, "useful_tokens": 4000, "plain_training_tflop": 6 * 6_862_464 * 4000e-12}
    its |= {"seconds": 95.0, "evaluation_seconds": 6.0, "tokens_per_second": 50.0}
    TRAINING_COSTS.parent.mkdir(parents=True, exist_ok=True)
    write_metrics(TRAINING_COSTS, results.training_costs(**its | costs))


def test_the_time_is_that_of_the_last_training_with_its_start_and_its_evaluations_apart():
    tokenised(rows=240, tokens=2400)
    trained()

    # 10 steps of 24 rows of 10 tokens at 50 a second, two evaluations of 2 s, and 9 s.
    assert look(epochs=1, warmup_steps=0)["finetune time"].found == (
        "about 1 min 1 s, if the rows stay as they are, at the pace of the last training here"
    )
    # Ten times the steps: 480 s; evaluations at 0, 50 and 100.
    assert look(epochs=10, eval_every=50)["finetune time"].found.startswith("about 8 min 15 s, ")
    # max_steps ends it: 5 steps, 24 s.
    assert look(max_steps=5, warmup_steps=0)["finetune time"].found.startswith("about 37 s, ")
    # Without drop_last the second batch of 25 rows has one: 250 tokens in 5 s, two evaluations, 9 s.
    tokenised(rows=25, tokens=250)
    assert look(epochs=1, warmup_steps=0, drop_last=False)["finetune time"].found.startswith("about 18 s, ")
    tokenised(rows=240, tokens=2400)
    # The last training's model was half as large: steps and evaluations take twice as long, the start does not.
    trained(plain_training_tflop=3 * 6_862_464 * 4000e-12)
    assert look(epochs=1, warmup_steps=0)["finetune time"].found.startswith("about 1 min 53 s, ")


def test_the_time_after_a_short_training_is_not_that_of_its_start():
    """The last one had 20 steps of 240 tokens in 4 s, and took 9 s in all: 400 steps do not take 20 times that."""
    tokenised(rows=240, tokens=2400)
    short = {"steps": 20, "useful_tokens": 4800, "tokens_per_second": 1200.0, "seconds": 9.0}
    trained(**short, plain_training_tflop=6 * 6_862_464 * 4800e-12, evaluations=2, evaluation_seconds=1.0)

    # 4 s to start; 400 steps of 240 tokens are 80 s; evaluations every 100 steps are 5 of 0.5 s.
    assert look(epochs=40)["finetune time"].found.startswith("about 1 min 26 s, ")
    # The same training again takes what it took: 9 s.
    assert look(max_steps=20, warmup_steps=2)["finetune time"].found.startswith("about 9 s, ")


def test_nothing_is_said_of_the_time_after_too_few_steps_or_without_rows():
    tokenised(rows=240, tokens=2400)
    too_short = "not known beforehand: the last training here was too short; it is told after six steps"
    for costs in ({"steps": 5}, {"tokens_per_second": None}):
        trained(**costs)
        assert look()["finetune time"].found == too_short
    trained(steps=6)
    assert look()["finetune time"].found.startswith("about ")
    assert ledger.STEPS_BEFORE + 1 == preflight.FEWEST

    tokenised(rows=7, tokens=70)
    assert look()["finetune time"].found == (
        "not known beforehand: 7 train rows do not fill one batch of finetune.batch_size 24"
    )
    TOKENS_METRICS.unlink()
    told = look()["finetune time"].found
    assert told == "not known beforehand: no rows are tokenised in this folder yet; it is told after six steps"


@given(st.integers(1, 60), st.integers(1, 70))
def test_the_evaluations_are_those_that_a_training_makes(steps: int, every: int) -> None:
    assert preflight.evaluations(steps, every) == len(work.evaluations(steps, every))
