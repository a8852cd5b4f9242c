"""Which dtype is faster, by the seconds of a product."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from stages.gpt2 import products, runtime

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("fp32", "bf16", "expected"),
    [
        (1.0, 0.16, True),  # AMX
        (1.0, 0.5, True),
        (1.0, 1.0, True),  # all else moves half the bytes
        (1.0, 1.24, True),
        (1.0, 1.25, False),
        (1.0, 2.0, False),
    ],
)
def test_bf16_is_faster_unless_its_products_take_a_quarter_longer(fp32, bf16, expected):
    assert products.faster(fp32, bf16) == expected


def test_a_measurement_is_of_both_dtypes_and_changes_no_random_number_and_no_number_of_threads():
    threads = torch.get_num_threads()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    fp32, bf16 = products.product_seconds(32)

    assert fp32 > 0
    assert bf16 > 0
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads
    assert products.bf16_is_faster(32) in (True, False)


class Kept:
    """Answers what it is told instead of measuring, and notes what it was asked for."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def __call__(self, what: str, measure: Callable[[], str]) -> str:
        self.asked.append(what)
        return self.answer


@pytest.mark.parametrize("answer", ["bf16", "fp32"])
def test_auto_is_what_was_measured_for_the_width(monkeypatch, answer):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    kept = Kept(answer)

    assert products.chosen("auto", CPU, 768, kept) == answer
    assert kept.asked == ["precision, width 768"]


def test_what_is_named_is_not_measured():
    kept = Kept("neither")

    assert products.chosen("fp32", CPU, 128, kept) == "fp32"
    assert products.chosen("bf16", CPU, 128, kept) == "bf16"
    assert kept.asked == []


def test_a_processor_without_units_for_bf16_is_not_measured(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    kept = Kept("bf16")

    assert products.chosen("auto", CPU, 128, kept) == "fp32"
    assert kept.asked == []


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "fp32"), ((9, 0), "bf16")])
def test_a_gpu_is_not_measured(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    kept = Kept("neither")

    assert products.chosen("auto", torch.device("cuda"), 128, kept) == expected
    assert kept.asked == []


@pytest.mark.skipif(not runtime.has_bf16(CPU), reason="this processor has no units for bf16")
def test_on_this_processor_it_is_measured():
    assert products.chosen("auto", CPU, 64, lambda _, measure: measure()) in ("bf16", "fp32")
