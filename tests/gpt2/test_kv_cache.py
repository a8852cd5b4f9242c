"""The KV cache: its slots, its positions, its memory."""

from __future__ import annotations

import psutil
import pytest
import torch

from stages.gpt2.kv_cache import KVCache
from stages.gpt2.model import GPT2Config

CONFIG = GPT2Config(n_layer=2, n_head=3, n_embd=24, n_positions=96, vocab_size=53)
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


def dirty(cache: KVCache) -> KVCache:
    """A cache whose slots other rows have used before."""
    cache._memory.fill_(1000.0)
    return cache


@PRECISIONS
def test_a_row_that_leaves_gives_its_slot_to_the_last_one_and_new_ones_begin_with_the_prefix(dtype):
    cache = dirty(KVCache(CONFIG, slots=3, length=20, dtype=dtype, device=torch.device("cpu")))
    cache.begin(3, 2)
    for row in range(3):
        cache.data[:, :, row, :, :2] = row + 1
    prefix = KVCache(CONFIG, slots=1, length=1, dtype=dtype, device=torch.device("cpu"))
    prefix.begin(1, 1)
    prefix.data.fill_(7)

    cache.leave(0)
    assert cache.rows == 2
    assert cache.data[0, 0, :2, 0, :2, 0].tolist() == [[3, 3], [2, 2]]
    cache.begin(1, 3, prefix)
    assert cache.data[0, 0, :2, 0, :2, 0].tolist() == [[3, 3], [2, 2]]
    assert cache.data[0, 0, 2, 0, 0, 0] == 7
    cache.fit(17)
    assert cache.data.shape[-2] == 20, "no more than its length"
    assert cache.data.isfinite().all()
    assert cache.data[-1, -1, :2, -1, :2, -1].tolist() == [[3, 3], [2, 2]]
    assert cache.data[-1, -1, 2, -1, 0, -1] == 7


def test_a_new_cache_is_zero_and_takes_no_memory_before_it_is_written():
    taken = psutil.Process().memory_info().rss
    cache = KVCache(CONFIG, slots=2_000, length=5_000, dtype=torch.float32, device=torch.device("cpu"))
    assert cache._memory.nbytes > 1 << 30
    assert psutil.Process().memory_info().rss - taken < 1 << 24

    cache.begin(3, 5)
    assert not cache.data[:, :, :3].any()


@pytest.mark.parametrize("length", [96, 20])
def test_a_cache_that_fits_is_not_moved(length):
    cache = KVCache(CONFIG, slots=2, length=length, dtype=torch.float32, device=torch.device("cpu"))
    cache.begin(1, 1)
    for span in range(1, 21):
        cache.fit(span)
        before = cache.data
        cache.fit(span)
        assert cache.data is before


@PRECISIONS
def test_a_cache_grows_with_its_longest_row_and_shrinks_when_that_has_left(dtype):
    cache = dirty(KVCache(CONFIG, slots=2, length=96, dtype=dtype, device=torch.device("cpu")))
    cache.begin(2, 50)
    kept = torch.randn(cache.data[:, :, :2, :, :10].shape).to(dtype)
    cache.data[:, :, :2, :, :10] = kept

    spans = []
    for span in (50, 64, 65, 61, 60, 33, 10):
        cache.fit(span)
        spans.append(cache.data.shape[-2])
        assert cache.data[0, 0, :2].is_contiguous()
        assert torch.equal(cache.data[:, :, :2, :, :10], kept)

    assert spans == [64, 64, 80, 80, 80, 48, 16]
