"""Packed rows: their shared prefix, and attention by kept weights and by PyTorch's own, against each row by itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from stages.gpt2 import packed
from stages.gpt2.packed import PackedRows, shared_prefix_length

LENGTHS = (3, 7, 1, 4)
PADDING = 5
HEADS, WIDTH = 2, 8


def packed_rows(prefix: int, dtype: torch.dtype) -> tuple[PackedRows, torch.Tensor, torch.Tensor]:
    """Four rows of different lengths with a shared prefix, padded: the rows, [N, 3, H, D], and a gradient."""
    longest = max(LENGTHS)
    grid = torch.cat([torch.arange(length) + row * longest for row, length in enumerate(LENGTHS)])
    count = prefix + sum(LENGTHS) + PADDING
    generator = torch.Generator().manual_seed(prefix)
    qkv = torch.randn(count, 3, HEADS, WIDTH, generator=generator, dtype=torch.float64).to(dtype)
    gradient = torch.randn(count, HEADS, WIDTH, generator=generator, dtype=torch.float64).to(dtype)
    return PackedRows(prefix, len(LENGTHS), longest, grid), qkv, gradient


def mixed(rows: PackedRows, qkv: torch.Tensor, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What comes out, and the gradient of what went in."""
    given = qkv.clone().requires_grad_()
    out = rows(0, given)
    out.backward(gradient)
    assert given.grad is not None
    return out.detach(), given.grad


def one_by_one(prefix: int, qkv: torch.Tensor, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same from each row written out with the shared prefix, whose gradient is taken only once."""
    given = qkv.clone().requires_grad_()
    out = torch.zeros_like(gradient)
    start = prefix
    for row, length in enumerate(LENGTHS):
        tokens = [*range(prefix), *range(start, start + length)]
        query, key, value = given[tokens].permute(1, 2, 0, 3)
        answer = F.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(0, 1)
        new = slice(0 if row == 0 else prefix, None)
        out = out.index_add(0, torch.tensor(tokens[new]), answer[new])
        start += length
    out.backward(gradient)
    assert given.grad is not None
    return out.detach(), given.grad


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1, 2, 3], [1, 2, 4, 5]], 2),
        ([[1, 2], [1, 2, 3]], 1),
        ([[1], [1]], 0),
        ([[1, 2], [2, 1], [1, 2]], 0),
        ([[1, 2, 3]], 0),
    ],
)
def test_a_shared_prefix_leaves_every_prompt_a_token_of_its_own(rows, expected):
    assert shared_prefix_length(rows, leaving=1) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1, 2, 3]], 0),
        ([[1, 2, 3], [1, 2, 3]], 1),
        ([[1, 2, 3, 4, 5], [1, 2, 3, 4, 6], [1, 2, 3, 7, 5]], 3),
        ([[1, 2, 3, 4], [5, 2, 3, 4]], 0),
        ([[1, 2], [1, 2, 3, 4]], 0),
        ([[1, 2, 3], [1, 2, 3, 4, 5]], 1),
    ],
)
def test_a_shared_prefix_leaves_every_row_an_input_and_a_target_of_its_own(rows, expected):
    assert shared_prefix_length(rows, leaving=2) == expected


@pytest.mark.parametrize("kept", [packed.KEPT_WEIGHTS, 0])
@pytest.mark.parametrize("prefix", [0, 1, 6, 7, 17])
def test_packed_rows_attend_as_each_by_itself(prefix, kept, monkeypatch):
    monkeypatch.setattr(packed, "KEPT_WEIGHTS", kept)
    rows, qkv, gradient = packed_rows(prefix, torch.float64)

    for found, expected in zip(mixed(rows, qkv, gradient), one_by_one(prefix, qkv, gradient), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        assert not found[rows.end :].any(), "padding is zero and gets no gradient"


@pytest.mark.parametrize("prefix", [0, 6])
def test_in_bf16_sums_are_kept_in_fp32(prefix):
    rows, qkv, gradient = packed_rows(prefix, torch.bfloat16)
    exact = one_by_one(prefix, qkv.double(), gradient.double())

    for found, expected in zip(mixed(rows, qkv, gradient), exact, strict=True):
        assert found.dtype == torch.bfloat16
        error = (found.double() - expected).norm() / expected.norm()
        assert error < 0.004, "half a unit in the last place of bf16 is up to 0.0039"


def test_too_many_weights_are_not_kept(monkeypatch):
    rows, qkv, _ = packed_rows(6, torch.float32)
    count = (len(LENGTHS) + 1) * HEADS * max(LENGTHS) * (6 + max(LENGTHS))  # the shared ones are a row too
    ways = []
    monkeypatch.setattr(PackedRows, "_by_pytorch", lambda *_: ways.append("PyTorch's own"))
    monkeypatch.setattr(packed, "KEPT_WEIGHTS", count)
    rows(0, qkv)
    assert ways == []
    monkeypatch.setattr(packed, "KEPT_WEIGHTS", count - 1)
    rows(0, qkv)
    assert ways == ["PyTorch's own"]


@pytest.mark.parametrize(("prefix", "own"), [(4 * max(LENGTHS), True), (4 * max(LENGTHS) + 1, False)])
def test_a_long_prefix_is_not_copied_for_more_rows_of_its_own_than_there_are(prefix, own, monkeypatch):
    rows, qkv, gradient = packed_rows(prefix, torch.float64)
    ways = []
    by_pytorch = PackedRows._by_pytorch
    monkeypatch.setattr(PackedRows, "_by_pytorch", lambda *given: ways.append("PyTorch's own") or by_pytorch(*given))

    for found, expected in zip(mixed(rows, qkv, gradient), one_by_one(prefix, qkv, gradient), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert ways == ([] if own else ["PyTorch's own"])
