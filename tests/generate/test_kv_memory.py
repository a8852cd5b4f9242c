"""What is told where the KV cache is too large for the memory."""

from __future__ import annotations

import pytest
import torch

from stages.common.errors import ConfigError
from stages.generate import kv_memory
from stages.gpt2.model import GPT2Config
from stages.params import whole
from tests.root import ROOT


def test_other_errors_than_a_shortage_stay_what_they_are():
    settings = whole.load(ROOT / "params.yaml").generate
    sizes = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=64)
    error = RuntimeError("shapes differ")

    with (
        pytest.raises(RuntimeError) as caught,
        kv_memory.shortage_explained(sizes, settings, rows=3, longest=9),
    ):
        raise error
    assert caught.value is error
    with (
        pytest.raises(ConfigError, match="keys and values of a row take") as told,
        kv_memory.shortage_explained(sizes, settings, rows=1, longest=9),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert "batch_size" not in str(told.value)


@pytest.mark.parametrize(("precision", "expected"), [("fp32", 49_152), ("bf16", 24_576)])
def test_the_cache_has_keys_and_values_of_all_layers_up_to_the_context(precision, expected):
    """2 layers, keys and values, 3 rows, 64 positions, 16 numbers each, of 4 or 2 bytes."""
    settings = whole.load(ROOT / "params.yaml").generate.model_copy(update={"precision": precision})
    sizes = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=64)

    assert kv_memory.cache_bytes(sizes, settings, rows=3, longest=60) == expected
