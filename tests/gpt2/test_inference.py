"""Passes over a KV cache against the network without one: logits, layouts, products."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from stages.finetune import lora
from stages.gpt2 import decoding, inference, runtime
from stages.gpt2.inference import Network
from stages.gpt2.kv_cache import KVCache
from stages.gpt2.model import GPT2, Projection
from stages.params.finetune import Lora
from tests.gpt2.test_decoding import shaken
from tests.gpt2.test_kv_cache import CONFIG, PRECISIONS, dirty


@pytest.fixture(params=["plain", "onednn", "prepacked"])
def layout(request: pytest.FixtureRequest) -> str:
    """How weights are laid out, whatever is fastest on this processor."""
    if request.param != "plain" and not torch.backends.mkldnn.is_available():
        pytest.skip("this build of PyTorch has no oneDNN")
    return str(request.param)


def prepared(model: GPT2, dtype: torch.dtype, layout: str) -> Network:
    """A copy of the model in a dtype and a layout, ready to answer."""
    if layout != "plain" and dtype == torch.bfloat16 and not runtime.has_bf16(torch.device("cpu")):
        pytest.skip("this processor has no units for bf16")
    # oneDNN multiplies bf16 by plain weights anyway.
    return decoding.prepare(copied(model, dtype), "plain" if (layout, dtype) == ("onednn", torch.bfloat16) else layout)


@pytest.fixture(scope="module")
def model() -> GPT2:
    return shaken(CONFIG)


def copied(model: GPT2, dtype: torch.dtype) -> GPT2:
    return copy.deepcopy(model).to(dtype)


def plainly(model: GPT2, rows: list[list[int]]) -> torch.Tensor:
    """The logits after each row, a row at a time and without a cache."""
    with torch.inference_mode():
        return torch.stack([model.logits(model(torch.tensor([row])))[0, -1] for row in rows])


def in_precision(model: GPT2, dtype: torch.dtype) -> tuple[Network, GPT2]:
    """The network in a precision, and the model of the same, so rounded, weights that computes in fp32."""
    rounded = copied(model, dtype)
    return Network.of(rounded), copied(rounded, torch.float32)


def assert_alike(found: torch.Tensor, exact: torch.Tensor) -> None:
    """Logits are those in fp32 but for the roundings of their own precision."""
    if found.dtype == torch.float32:
        torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-5)
        return
    # Each of some twenty roundings to 8 bits on the way adds a part of 0.002.
    off = (found.float() - exact).norm(dim=-1) / exact.norm(dim=-1)
    assert bool((off < 0.03).all()), off


def drawn(lengths: list[int]) -> list[list[int]]:
    generator = torch.Generator().manual_seed(len(lengths))
    return [torch.randint(CONFIG.vocab_size, (length,), generator=generator).tolist() for length in lengths]


@pytest.mark.parametrize("lengths", [[1], [7], [1, 1, 1], [6, 2, 4], [5, *range(1, 40)]])
@pytest.mark.parametrize("common", [0, 3])
@PRECISIONS
def test_prompts_and_steps_give_the_logits_of_whole_rows(model, lengths, common, dtype):
    network, exact = in_precision(model, dtype)
    beginning = [1, 2, 3][:common]
    rows = [beginning + row for row in drawn(lengths)]
    prefix = None
    if common:
        prefix = dirty(network.cache(1, common))
        decoding.fill(network, prefix, [beginning])
    cache = dirty(network.cache(len(rows), CONFIG.n_positions))

    assert_alike(decoding.prefill(network, cache, rows, prefix), plainly(exact, rows))
    for step in range(20):
        found = decoding.decode_one(network, cache, [step] * len(rows), [len(row) for row in rows])
        rows = [[*row, step] for row in rows]
        if step in (0, 1, 19):
            assert_alike(found, plainly(exact, rows))


@pytest.mark.parametrize("scores", [1, 200, 1 << 22])
@PRECISIONS
def test_few_rows_at_a_time_change_nothing(model, monkeypatch, scores, dtype):
    monkeypatch.setattr(inference, "SCORES_AT_A_TIME", scores)
    (network, exact), rows = in_precision(model, dtype), drawn([9, 3, 5, 5, 1])

    found = decoding.prefill(network, dirty(network.cache(5, 9)), rows)

    assert_alike(found, plainly(exact, rows))


@pytest.mark.parametrize(("device", "groups"), [("cpu", 3), ("meta", 1)])
def test_only_a_cpu_takes_a_few_rows_at_a_time(device, groups):
    cache = KVCache(CONFIG, slots=40, length=5, dtype=torch.float32, device=torch.device(device))
    cache.begin(40, 5)

    assert len(inference.PromptPass(cache, 0, 0, [5] * 40).groups) == groups


@PRECISIONS
def test_rows_that_come_later_and_rows_that_leave_harm_no_other(model, dtype):
    (network, exact), rows = in_precision(model, dtype), drawn([4, 30, 20])
    cache = dirty(network.cache(3, 60))
    decoding.prefill(network, cache, rows[:2])
    decoding.prefill(network, cache, rows[2:])
    cache.leave(1)
    rows = [rows[0], rows[2]]
    assert cache.data.shape[-2] == 32

    for step in range(14):
        if step == 10:
            cache.leave(1)
            rows.pop()
        found = decoding.decode_one(network, cache, [step] * len(rows), [len(row) for row in rows])
        rows = [[*row, step] for row in rows]
        assert_alike(found, plainly(exact, rows))
    assert cache.data.shape[-2] == 16 + 16 * (len(rows[0]) > 16)


@pytest.mark.parametrize("tokens", [1, 2, 25])
@PRECISIONS
def test_the_layout_of_weights_changes_nothing_but_roundings(model, tokens, dtype, layout):
    plain, network = copied(model, dtype), prepared(model, dtype, layout)
    line = torch.randn(tokens, 24, generator=torch.Generator().manual_seed(1)).to(dtype)
    with torch.inference_mode(), network.products_for(tokens):
        ours, theirs = network.layers[0].to_hidden(line), plain.h[0].mlp.c_fc(line)
        logits, others = network.head(line), plain.logits(line)
    assert ours.shape == theirs.shape == (tokens, 96)
    assert ours.dtype == logits.dtype == dtype
    assert ours.is_contiguous()
    # Sums of 25 terms of about 1 in size, rounded to 24 or 8 bits.
    atol, rtol = (2e-6, 1e-5) if dtype == torch.float32 else (0.04, 0.02)
    assert torch.allclose(ours, theirs, atol=atol, rtol=rtol)
    assert torch.allclose(logits, others, atol=atol, rtol=rtol)


def test_the_weights_of_a_prepared_model_lie_otherwise_and_prepacked_ones_are_gone(model):
    plain, laid_out, used = (copied(model, torch.float32) for _ in range(3))
    decoding.prepare(laid_out)

    assert laid_out.h[0].mlp.c_fc.weight.shape == (24, 96)
    assert laid_out.h[0].mlp.c_fc.weight.t().is_contiguous()
    for name, weight in plain.state_dict().items():
        assert torch.equal(laid_out.state_dict()[name], weight)
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this build of PyTorch has no oneDNN")
    decoding.prepare(used, "prepacked")
    assert all(one.weight.numel() == 0 for one in used.modules() if isinstance(one, Projection))
    assert torch.equal(used.wte.weight, plain.wte.weight)


def test_a_model_that_lora_trains_cannot_be_prepacked(model):
    trained = copied(model, torch.float32)
    lora.attach(trained, Lora(rank=2, alpha=1.0, targets=["c_attn"]), seed=0)
    with pytest.raises(TypeError, match="LoRA is to be merged before"):
        decoding.prepare(trained, "prepacked")


def test_prepared_bf16_weights_give_the_logits_of_plain_ones_but_for_roundings(model, layout):
    rows, found = drawn([3, 2, 1, 6, 4]), []
    for network in (prepared(model, torch.bfloat16, layout), Network.of(copied(model, torch.bfloat16))):
        cache = network.cache(len(rows), CONFIG.n_positions)
        first = decoding.prefill(network, cache, rows)
        second = decoding.decode_one(network, cache, [1] * len(rows), [len(row) for row in rows])
        found.append(torch.cat([first, second]).float())

    ours, theirs = found
    # Logits are sums of 24 products, each of numbers that two blocks have rounded to 8 bits.
    assert (ours - theirs).abs().max() < 0.05 * theirs.abs().max()


def test_only_a_single_bf16_row_over_prepared_plain_weights_does_without_onednn(model):
    def without(network: Network, tokens: int) -> bool:
        with network.products_for(tokens):
            return not torch.backends.mkldnn.enabled

    plain = prepared(model, torch.bfloat16, "plain")
    assert without(plain, 1)
    assert not without(plain, 2)
    assert not without(Network.of(copied(model, torch.bfloat16)), 1)
    assert not without(prepared(model, torch.float32, "plain"), 1)
    if torch.backends.mkldnn.is_available():
        assert not without(prepared(model, torch.bfloat16, "prepacked"), 1)
    assert torch.backends.mkldnn.enabled


@pytest.mark.parametrize(("prompts", "plainly"), [([[1, 2, 3]], True), ([[1, 2, 3], [4]], False), ([[1]], True)])
def test_the_logits_after_a_single_prompt_are_computed_as_in_a_single_step(model, prompts, plainly):
    network = prepared(model, torch.bfloat16, "plain")
    seen = []

    def head(hidden: torch.Tensor) -> torch.Tensor:
        seen.append((len(hidden), not torch.backends.mkldnn.enabled))
        return network.head(hidden)

    decoding.prefill(dataclasses.replace(network, head=head), network.cache(2, 3), prompts)

    assert seen == [(len(prompts), plainly)]


@pytest.mark.parametrize("rows", [1, 3])
def test_large_scores_of_bf16_prompts_are_not_rounded(rows):
    generator = torch.Generator().manual_seed(1)
    shapes = [(rows, 2, 40, 8), (rows, 2, 40, 8), (rows, 2, 40, 8)]
    query, *there = [torch.randn(shape, generator=generator).bfloat16() for shape in shapes]
    query *= 16  # scores of 16 by standard deviation
    mask = torch.full((40, 40), -math.inf).triu_(1)

    found = inference.cached_attention(query, torch.stack(there), mask.bfloat16())

    exact = F.scaled_dot_product_attention(*(part.float() for part in (query, *there)), attn_mask=mask)
    assert torch.allclose(found.float(), exact, atol=0.01, rtol=0.005)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("width", [1, 4])
def test_attention_over_a_bf16_cache_is_that_in_fp32_but_for_roundings(rows, width):
    generator = torch.Generator().manual_seed(1)
    shapes = [(rows, 2, width, 8), (rows, 2, 9, 8), (rows, 2, 9, 8)]
    query, *there = [torch.randn(shape, generator=generator).bfloat16() for shape in shapes]
    mask = torch.zeros(rows, 1, width, 9).masked_fill_(torch.rand(rows, 1, width, 9, generator=generator) < 0.4, -1e9)
    mask = None if rows == width == 1 else mask.bfloat16()

    found = inference.cached_attention(query, torch.stack(there), mask)

    exact = F.scaled_dot_product_attention(
        *(part.float() for part in (query, *there)), attn_mask=mask if mask is None else mask.float()
    )
    assert found.shape == exact.shape
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), exact, atol=0.03, rtol=0.02)


def test_a_model_that_lora_is_training_answers_with_its_updates(model):
    training = copied(model, torch.float32)
    lora.attach(training, Lora(rank=2, alpha=4, targets=["c_attn", "c_fc"]), seed=1)
    with torch.no_grad():
        for name, parameter in training.named_parameters():
            if name.endswith("lora_b"):
                parameter.fill_(0.1)
    rows = drawn([3, 5])
    network = Network.of(training)

    found = decoding.prefill(network, network.cache(2, 5), rows)

    torch.testing.assert_close(found, plainly(training, rows))
    assert not torch.allclose(found, plainly(model, rows), atol=0.1)
