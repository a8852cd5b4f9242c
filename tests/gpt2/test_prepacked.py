"""How weights are laid out for inference: what is measured, and that all ways give the same product."""

from __future__ import annotations

import pytest
import torch

from stages.gpt2 import prepacked, runtime
from tests.gpt2.test_products import Kept

CPU = torch.device("cpu")
FP32, BF16 = torch.float32, torch.bfloat16
NEVER = float("inf")


@pytest.fixture
def factors():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator) for shape in ((5, 48), (33, 48), (33,))]


def has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())


needs_onednn = pytest.mark.skipif(not has_onednn(), reason="this build of PyTorch has no oneDNN")


@pytest.mark.parametrize(
    ("plain", "onednn", "prepack", "several", "one"),
    [
        (1.0, 0.9, 0.6, "prepacked", "plain"),
        (1.0, 0.5, 0.4, "prepacked", "onednn"),
        (1.0, 0.5, 0.48, "onednn", "onednn"),  # hardly faster than plain weights by oneDNN
        (1.0, 0.8, 0.95, "plain", "plain"),
        (1.0, NEVER, 0.5, "prepacked", "plain"),
        (1.0, NEVER, NEVER, "plain", "plain"),
    ],
)
def test_the_layout_is_the_one_that_is_clearly_faster(monkeypatch, plain, onednn, prepack, several, one):
    monkeypatch.setattr(prepacked, "product_seconds", lambda *_: (plain, onednn, prepack))

    assert prepacked.fastest(FP32, 128, several=True) == several
    assert prepacked.fastest(FP32, 128, several=False) == one


def test_what_was_measured_once_for_a_dtype_a_width_and_the_rows_is_taken(monkeypatch):
    monkeypatch.setattr(prepacked, "fastest", lambda *_, **__: pytest.fail("it was measured again"))
    kept = Kept("prepacked")

    assert prepacked.layout_for(BF16, CPU, 768, 48, kept) == "prepacked"
    assert prepacked.layout_for(FP32, CPU, 128, 1, kept) == "prepacked"
    assert kept.asked == [
        "layout of weights, bfloat16, width 768, several rows",
        "layout of weights, float32, width 128, one row",
    ]
    assert prepacked.layout_for(FP32, CPU, 128, 2, Kept("onednn")) == "onednn"
    assert prepacked.layout_for(FP32, CPU, 128, 2, Kept("of another version")) == "plain"


def test_a_gpu_is_not_measured():
    assert prepacked.layout_for(BF16, torch.device("cuda"), 768, 48, lambda *_: pytest.fail("it was")) == "plain"


@pytest.mark.parametrize("dtype", [FP32, BF16])
def test_a_measurement_changes_no_random_number_and_no_number_of_threads(dtype):
    threads = torch.get_num_threads()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)

    plain, onednn, kept = prepacked.product_seconds(dtype, 32)

    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads
    assert 0 < plain < 1
    assert (onednn == NEVER) is (dtype == BF16 or not has_onednn())
    assert (kept == NEVER) is (not has_onednn() or (dtype == BF16 and not runtime.has_bf16(CPU)))


def test_where_onednn_is_switched_off_weights_are_not_prepacked():
    with prepacked.no_onednn():
        assert prepacked.product_seconds(FP32, 32)[2] == NEVER


def test_where_the_operator_is_missing_weights_are_not_prepacked(monkeypatch):
    def gone(_):
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_reorder_linear_weight'")

    monkeypatch.setattr(prepacked, "prepack", gone)
    assert prepacked.fastest(FP32, 32, several=True) != "prepacked"


@needs_onednn
def test_a_prepacked_weight_gives_the_product_of_the_plain_one(factors):
    x, weight, bias = factors
    for given in (weight, weight.t().contiguous().t()):
        found = prepacked.by_prepacked(x, prepacked.prepack(given), bias)
        torch.testing.assert_close(found, x @ weight.t() + bias, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(prepacked.by_prepacked(x, prepacked.prepack(weight)), x @ weight.t())


@needs_onednn
def test_onednn_gives_the_product_of_plain_weights(factors):
    x, weight, bias = factors
    torch.testing.assert_close(prepacked.by_onednn(x, weight, bias), x @ weight.t() + bias, rtol=1e-5, atol=1e-5)
