"""Our GPT-2 against transformers' on random weights: logits, files, cached passes."""

from __future__ import annotations

import pytest
import torch

from stages.gpt2 import weights
from stages.gpt2.model import GPT2, CachedPass, GPT2Config, KVCache
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


def test_cached_passes_equal_an_uncached_one():
    config = shrunk(PUBLISHED["gpt2"])
    model = randomised(config)
    ids = torch.tensor([[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]])
    whole = our_logits(model, ids)

    cache = KVCache(config, places=2, length=6, dtype=torch.float32, device=torch.device("cpu"))
    cache.data.fill_(torch.nan)  # as memory that is not cleared may be
    cache.begin(2)
    parts = []
    with torch.inference_mode():
        for start, end in ((0, 3), (3, 4), (4, 6)):
            cache.reach(end)
            width = end - start
            rows = torch.tensor([0] * width + [1] * width)
            positions = torch.arange(start, end).repeat(2)
            attend = CachedPass(cache, rows, positions, first=0, start=start, width=width, span=end)
            parts.append(model.logits(model(ids[:, start:end].flatten(), positions, attend)).unflatten(0, (2, width)))

    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-5, atol=1e-5)


def test_rows_of_a_cached_pass_may_stand_at_different_positions():
    config = shrunk(PUBLISHED["gpt2"])
    model = randomised(config)
    short, long = [1, 2], [3, 4, 5, 6]
    cache = KVCache(config, places=2, length=8, dtype=torch.float32, device=torch.device("cpu"))
    cache.data.fill_(torch.nan)
    cache.begin(2)
    cache.reach(4)
    with torch.inference_mode():
        rows, positions = torch.tensor([0, 0, 1, 1, 1, 1]), torch.tensor([0, 1, 0, 1, 2, 3])
        model(torch.tensor([*short, *long]), positions, CachedPass(cache, rows, positions, 0, 0, 4, 4))
        cache.reach(5)
        rows, positions = torch.arange(2), torch.tensor([2, 4])
        attend = CachedPass(cache, rows, positions, first=0, start=0, width=1, span=5)
        following = model.logits(model(torch.tensor([50, 60]), positions, attend))

    torch.testing.assert_close(following[0], our_logits(model, torch.tensor([[*short, 50]]))[0, -1])
    torch.testing.assert_close(following[1], our_logits(model, torch.tensor([[*long, 60]]))[0, -1])


def test_a_row_that_leaves_gives_its_place_to_the_last_one_and_new_ones_begin_with_the_prefix():
    config = shrunk(PUBLISHED["gpt2"])
    cache = KVCache(config, places=3, length=20, dtype=torch.float32, device=torch.device("cpu"))
    cache.data.fill_(torch.nan)
    cache.begin(3)
    cache.reach(2)
    for row in range(3):
        cache.data[:, :, row, :, :2] = row + 1
    prefix = KVCache(config, places=1, length=1, dtype=torch.float32, device=torch.device("cpu"))
    prefix.data.fill_(7)

    cache.leave(0)
    assert cache.rows == 2
    assert cache.data[0, 0, :2, 0, :2, 0].tolist() == [[3, 3], [2, 2]]
    cache.begin(1, prefix)
    assert cache.data[0, 0, :3, 0, :3, 0].tolist() == [[3, 3, 0], [2, 2, 0], [7, 0, 0]]
    cache.reach(17)
    assert cache.data.isfinite().all()
