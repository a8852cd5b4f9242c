"""Masks of dropout: numbers worked out apart from torch, how they are spread, and what they depend on."""

from __future__ import annotations

import pytest
import torch

from stages.gpt2 import dropout
from stages.gpt2.dropout import ATTENTION, EMBEDDING, MLP, Dropout, row_key, token_keys
from stages.gpt2.model import causal
from stages.gpt2.packed import PackedRows, PaddedRows, attention_with_dropout

ROUNDS = ((16, 0x7FEB352D), (15, 0x846CA68B))


def mixed(x: int) -> int:
    """lowbias32 in Python's whole numbers."""
    for bits, factor in ROUNDS:
        x = (x ^ x >> bits) * factor % 2**32
    return x ^ x >> 16


def kept(key: int, number: int, rate: float) -> bool:
    """Whether the number-th of a vector's numbers is kept."""
    x = (key ^ number * 0x9E3779B1 % 2**32) * ROUNDS[0][1] % 2**32
    x = (x ^ x >> 15) * ROUNDS[1][1] % 2**32
    signed = x - 2**32 if x >> 31 else x
    return signed >= round(rate * 2**32) - 2**31


def module_key(module: int, layer: int) -> int:
    return ((module + 3 * layer) * 0x85EBCA6B + 1) % 2**32


def of_rows(*seeds: int, length: int = 5, rate: float = 0.4) -> Dropout:
    """The masks of rows that have the same length."""
    keys = torch.tensor([row_key(seed) for seed in seeds], dtype=torch.int32)
    row_of = torch.arange(len(seeds)).repeat_interleave(length)
    return Dropout(rate, keys, token_keys(keys, row_of, torch.arange(length).repeat(len(seeds))))


def test_the_hash_is_lowbias32():
    numbers = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xDEADBEEF, 0xFFFFFFFF]
    found = dropout._mixed(torch.tensor([row_key(number) for number in numbers], dtype=torch.int32))

    assert [number % 2**32 for number in found.tolist()] == [mixed(number) for number in numbers]


def test_masks_worked_out_in_whole_numbers():
    seeds, length, rate = (7, 2**63 - 5), 5, 0.4
    drop = of_rows(*seeds, length=length, rate=rate)
    rows = [seed % 2**32 for seed in seeds]
    tokens = [mixed(row ^ position * 0x9E3779B1 % 2**32) for row in rows for position in range(length)]

    for module, layer in ((EMBEDDING, 0), (ATTENTION, 0), (MLP, 0), (ATTENTION, 11)):
        found = drop(torch.ones(len(tokens), 6), module, layer)
        keys = [mixed(token ^ module_key(module, layer)) for token in tokens]
        expected = [[kept(key, channel, rate) / (1 - rate) for channel in range(6)] for key in keys]
        torch.testing.assert_close(found, torch.tensor(expected))

    found = drop.of_weights(torch.ones(2, 3, length, length), layer=2)
    for row, of_row in zip(rows, found.tolist(), strict=True):
        start = mixed(row ^ module_key(dropout.WEIGHTS, 2))
        for head, of_head in enumerate(of_row):
            of_the_head = mixed(start ^ head * 0x9E3779B1 % 2**32)
            for query, weights in enumerate(of_head):
                key = mixed(of_the_head ^ query * 0x9E3779B1 % 2**32)
                assert [weight > 0 for weight in weights] == [kept(key, number, rate) for number in range(length)]


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.1, 0.5, 0.9])
def test_the_rate_is_kept_and_the_mean_stays(rate):
    drop = of_rows(*range(64), length=32, rate=rate)
    numbers = 64 * 32 * 512
    four_deviations = 4 * (rate * (1 - rate) / numbers) ** 0.5

    for found in (drop(torch.ones(64 * 32, 512), MLP, 3), drop.of_weights(torch.ones(64, 16, 32, 32), 3)):
        assert (found == 0).double().mean().item() == pytest.approx(rate, abs=four_deviations)
        assert found.double().mean().item() == pytest.approx(1, abs=four_deviations / (1 - rate))


def test_masks_of_neighbours_are_independent():
    """Pairs of 512 tokens, of 512 channels, of layers, modules and steps: as far apart as coins that are thrown."""
    drop = of_rows(*range(16), length=32, rate=0.5)
    masks = {where: (drop(torch.ones(512, 512), *where) > 0).double() * 2 - 1 for where in ((MLP, 0), (MLP, 1), (2, 0))}
    one = masks[MLP, 0]

    for product in (one @ one.T, one.T @ one):
        product.fill_diagonal_(0)
        # Sums of 512 coins have a deviation of 22.6; of 130,000 sums the largest is some 4.6 of these.
        assert product.abs().max() < 6 * 512**0.5
        assert (product**2).mean().item() == pytest.approx(512, rel=0.03)
    later = (of_rows(*range(100, 116), length=32, rate=0.5)(torch.ones(512, 512), MLP, 0) > 0).double() * 2 - 1
    for other in (masks[MLP, 1], masks[2, 0], later):
        assert abs((one * other).sum().item()) < 5 * 512


def test_what_is_dropped_of_a_row_depends_on_no_other_row():
    alone, together = of_rows(8), of_rows(3, 8)
    x, weights = torch.rand(5, 16), torch.rand(1, 2, 5, 5)

    assert torch.equal(together(torch.cat([torch.rand(5, 16), x]), MLP, 1)[5:], alone(x, MLP, 1))
    both = torch.cat([torch.rand(1, 2, 5, 5), weights])
    assert torch.equal(together.of_weights(both, 1)[1:], alone.of_weights(weights, 1))
    # Nor on how long the row is padded to.
    longer = torch.zeros(1, 2, 9, 9)
    longer[..., :5, :5] = weights
    assert torch.equal(alone.of_weights(longer, 1)[..., :5, :5], alone.of_weights(weights, 1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_attention_that_drops_nothing_is_causal_attention(dtype):
    qkv = torch.randn(2, 5, 3, 2, 8, generator=torch.Generator().manual_seed(1)).to(dtype)

    found = attention_with_dropout(0, qkv, of_rows(1, 2, rate=0.0))

    assert found.dtype == dtype
    torch.testing.assert_close(found, causal(0, qkv), rtol=2e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-6)


def test_attention_drops_its_weights():
    generator = torch.Generator().manual_seed(1)
    query, key, value = torch.randn(3, 2, 2, 5, 8, generator=generator, dtype=torch.float64)  # [B, H, T, D]
    drop = of_rows(1, 2)
    scores = query @ key.mT / 8**0.5 + torch.full((5, 5), -torch.inf).triu(1)
    expected = drop.of_weights(scores.softmax(-1), 4) @ value
    rows = torch.stack([query, key, value]).permute(1, 3, 0, 2, 4)  # [B, T, 3, H, D]

    torch.testing.assert_close(attention_with_dropout(4, rows, drop), expected.transpose(1, 2))
    flat = rows.flatten(0, 1)
    packed = PackedRows(0, 2, 5, torch.arange(10))(4, torch.cat([flat, flat[:2]]), drop)
    torch.testing.assert_close(packed[:10].view(2, 5, 2, 8), expected.transpose(1, 2))
    assert packed[10:].eq(0).all()
    torch.testing.assert_close(PaddedRows(0, 2, 5)(4, flat, drop).view(2, 5, 2, 8), expected.transpose(1, 2))
