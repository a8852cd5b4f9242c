"""The floor of a training step."""

from __future__ import annotations

import pytest
import torch

from benchmarks import roofline, task
from stages.common.results.tokenize import Encoded
from stages.finetune.costs.shape import Shape
from stages.gpt2.model import GPT2Config

CPU = torch.device("cpu")


def test_the_products_of_a_step_worked_by_hand():
    # Two rows of 3 and 4 ids, alike in the first: 1 shared input, 1 and 2 of their own; every next id is a target.
    rows = [Encoded(id="a", ids=[5, 1, 2], prompt_length=1), Encoded(id="b", ids=[5, 3, 4, 6], prompt_length=1)]
    shape = Shape.of(rows, "all")
    assert (shape.tokens, shape.targets) == (4, 5)

    found = dict(roofline.products(shape, GPT2Config(n_layer=2, n_head=2, n_embd=8, n_positions=16)))

    forward = {(4, 8, 24): 2, (4, 8, 8): 2, (4, 8, 32): 2, (4, 32, 8): 2, (5, 8, 50257): 1}
    assert {product: times for product, times in forward.items() if found[product] < times} == {}
    assert found[8, 4, 24] == 2, "the gradient of a weight"
    assert found[4, 24, 8] == 2, "the gradient of an input"
    assert found[5, 50257, 8] == 1
    assert found[8, 5, 50257] == 1


def test_the_operations_are_those_that_mfu_counts_but_for_attention():
    # One row: nothing is shared, so that each input and target counts once, and each weight of a product six times.
    rows = [Encoded(id="a", ids=list(range(9)), prompt_length=1)]
    sizes = GPT2Config(n_layer=3, n_head=2, n_embd=16, n_positions=16)

    needed = roofline.products(Shape.of(rows, "all"), sizes)

    assert sum(2 * m * k * n * times for (m, k, n), times in needed) == 6 * 8 * (3 * 12 * 16**2 + 50257 * 16)


def test_the_memory_is_measured():
    assert roofline.bytes_a_second(CPU, floats=1 << 16) > 0


@pytest.mark.thorough
def test_the_floor_of_a_tiny_task_is_products_and_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(roofline, "FLOATS", 1 << 16)
    task.make(tmp_path / "task", model="tiny", data=task.DATA, warmup=1, steps=2, precision="fp32")

    found = roofline.floor_of(task.read(tmp_path / "task"), CPU)

    assert found.step_s == found.products_s + found.bytes_s
    weights = 50257 * 16 + 1024 * 16 + 2 * (12 * 16**2 + 13 * 16) + 2 * 16
    assert found.bytes_s == pytest.approx(28 * weights / (found.bandwidth_gb_per_s * 1e9))
    assert found.products_tflops_per_s > 0
