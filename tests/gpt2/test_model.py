"""Our GPT-2 against transformers' on random weights: logits and files."""

from __future__ import annotations

import pytest
import torch

from stages.gpt2 import weights
from stages.gpt2.model import GPT2, GPT2Config
from tests.published_model import SIZES as PUBLISHED


def shrunk(config: GPT2Config) -> GPT2Config:
    """The same number of heads, a twelfth of the layers and 4 numbers a head: the ratios of the published sizes."""
    return GPT2Config(
        n_layer=config.n_layer // 12,
        n_head=config.n_head,
        n_embd=config.n_head * 4,
        n_positions=64,
        vocab_size=211,
    )


def randomised(config: GPT2Config, seed: int = 0) -> GPT2:
    """Every parameter random, biases and layer norms too, so that a wrong or forgotten one shows."""
    model = weights.initialise(config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def reference(folder) -> torch.nn.Module:
    from transformers import GPT2LMHeadModel

    return GPT2LMHeadModel.from_pretrained(folder).eval()


def our_logits(model: GPT2, ids: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.logits(model(ids))


@pytest.mark.parametrize("size", PUBLISHED)
def test_logits_equal_transformers_on_what_we_saved(size, tmp_path):
    config = shrunk(PUBLISHED[size])
    model = randomised(config)
    weights.save(model, tmp_path)
    ids = torch.randint(config.vocab_size, (3, config.n_positions), generator=torch.Generator().manual_seed(1))

    theirs = reference(tmp_path)
    with torch.inference_mode():
        expected = theirs(ids).logits

    torch.testing.assert_close(our_logits(model, ids), expected, rtol=1e-4, atol=1e-4)


def test_what_transformers_saves_loads_here_with_the_same_logits(tmp_path):
    from transformers import GPT2Config as TheirConfig
    from transformers import GPT2LMHeadModel

    torch.manual_seed(0)
    theirs = GPT2LMHeadModel(TheirConfig(n_layer=2, n_head=2, n_embd=8, n_positions=16, vocab_size=31)).eval()
    theirs.save_pretrained(tmp_path)
    ids = torch.arange(16)[None] % 31

    ours = weights.load(tmp_path, made_by="test")

    with torch.inference_mode():
        torch.testing.assert_close(our_logits(ours, ids), theirs(ids).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_logits_equal_transformers_at_full_size(tmp_path):
    config = PUBLISHED["gpt2"]
    model = randomised(config)
    weights.save(model, tmp_path)
    ids = torch.randint(config.vocab_size, (2, 128), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = reference(tmp_path)(ids).logits

    ours = our_logits(weights.load(tmp_path, made_by="test"), ids)

    assert sum(parameter.numel() for parameter in model.parameters()) == 124_439_808
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-2)


def test_published_sizes_have_the_published_numbers_of_parameters():
    counts = {}
    for name, config in PUBLISHED.items():
        with torch.device("meta"):
            counts[name] = sum(parameter.numel() for parameter in GPT2(config).parameters())

    assert counts == {
        "gpt2": 124_439_808,
        "gpt2-medium": 354_823_168,
        "gpt2-large": 774_030_080,
        "gpt2-xl": 1_557_611_200,
    }


def test_padding_on_the_right_changes_no_real_token():
    model = randomised(shrunk(PUBLISHED["gpt2"]))
    row = torch.tensor([[5, 6, 7]])
    padded = torch.tensor([[5, 6, 7, 0, 0], [9, 8, 7, 6, 5]])

    torch.testing.assert_close(our_logits(model, padded)[:1, :3], our_logits(model, row), rtol=1e-5, atol=1e-5)
