"""Model folders: what is refused, and that nothing random or foreign slips through."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.common.errors import DataError
from stages.gpt2 import weights
from stages.gpt2.model import GPT2Config

TINY = GPT2Config(n_layer=2, n_head=2, n_embd=8, n_positions=16, vocab_size=31)


@pytest.fixture
def folder(tmp_path):
    weights.save(weights.initialise(TINY, seed=7), tmp_path)
    return tmp_path


def rewrite(folder, change) -> None:
    """Let ``change`` alter the tensors of a folder's model."""
    tensors = load_file(folder / weights.WEIGHTS)
    change(tensors)
    save_file(tensors, folder / weights.WEIGHTS, metadata={"format": "pt"})


def test_initialisation_depends_on_the_seed_alone():
    torch.manual_seed(1)
    first = weights.initialise(TINY, seed=7).state_dict()
    torch.manual_seed(2)
    again = weights.initialise(TINY, seed=7).state_dict()
    other = weights.initialise(TINY, seed=8).state_dict()

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["wte.weight"], other["wte.weight"])


def test_initialisation_has_the_published_deviations():
    config = GPT2Config(n_layer=8, n_head=2, n_embd=128, n_positions=64, vocab_size=1000)
    state = weights.initialise(config, seed=0).state_dict()

    assert state["wte.weight"].std().item() == pytest.approx(0.02, rel=0.02)
    assert state["h.3.mlp.c_proj.weight"].std().item() == pytest.approx(0.02 / 4, rel=0.02)
    assert torch.equal(state["h.3.ln_1.weight"], torch.ones(128))
    assert torch.equal(state["h.3.attn.c_attn.bias"], torch.zeros(384))


def test_saving_twice_gives_the_same_bytes(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    weights.save(weights.load(folder, made_by="x"), other)

    for name in (weights.WEIGHTS, weights.CONFIG):
        assert (folder / name).read_bytes() == (other / name).read_bytes()


def test_names_without_the_prefix_and_mask_tensors_are_read_as_published(folder):
    def as_published(tensors):
        for name in list(tensors):
            tensors[name.removeprefix(weights.PREFIX)] = tensors.pop(name)
        for layer in range(TINY.n_layer):
            tensors[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 16, 16)

    expected = weights.load(folder, made_by="x").state_dict()
    rewrite(folder, as_published)

    found = weights.load(folder, made_by="x").state_dict()

    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_loading_in_bf16_rounds_each_value(folder):
    exact = weights.load(folder, made_by="x").wte.weight
    rounded = weights.load(folder, made_by="x", dtype=torch.bfloat16).wte.weight

    assert rounded.dtype == torch.bfloat16
    assert torch.equal(exact.to(torch.bfloat16), rounded)


def drop(tensors):
    del tensors["transformer.h.1.ln_2.bias"]


def add(tensors):
    tensors["transformer.h.2.ln_2.bias"] = torch.zeros(8)


def widen(tensors):
    tensors["transformer.wpe.weight"] = torch.zeros(17, 8)


def poison(tensors):
    tensors["transformer.h.0.mlp.c_fc.weight"][3, 4] = float("nan")


def overflow(tensors):
    tensors["transformer.h.0.mlp.c_fc.weight"][3, 4] = float("-inf")


def untie(tensors):
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"].clone()
    tensors["lm_head.weight"][0, 0] += 1e-5  # bf16 would round it away


def empty(tensors):
    tensors["transformer.wpe.weight"] = torch.zeros(0, 8)


def quantise(tensors):
    tensors["transformer.h.0.mlp.c_fc.weight"] = torch.zeros(8, 32, dtype=torch.int8)


def tell_twice(tensors):
    tensors["wte.weight"] = tensors["transformer.wte.weight"].clone()


def widen_the_head(tensors):
    tensors["lm_head.weight"] = torch.zeros(32, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, r"h\.1\.ln_2\.bias: missing"),
        (add, r"h\.2\.ln_2\.bias: not part of this GPT-2"),
        (widen, r"wpe\.weight: expected shape \(16, 8\), found \(17, 8\)"),
        (poison, r"h\.0\.mlp\.c_fc\.weight holds values that are not finite"),
        (overflow, r"h\.0\.mlp\.c_fc\.weight holds values that are not finite"),
        (untie, r"lm_head\.weight differs from the token embedding"),
        (empty, r"wpe\.weight: expected shape \(16, 8\), found \(0, 8\)"),
        (quantise, r"h\.0\.mlp\.c_fc\.weight: expected numbers of one of F64, F32, F16, BF16, found I8"),
        (tell_twice, r"wte\.weight: there twice, with and without transformer\."),
        (widen_the_head, r"lm_head\.weight: expected shape \(31, 8\), found \(32, 8\)"),
    ],
)
@pytest.mark.parametrize("read", [weights.load, weights.check, functools.partial(weights.load, dtype=torch.bfloat16)])
def test_wrong_tensors_are_named(folder, change, message, read):
    rewrite(folder, change)

    with pytest.raises(DataError, match=message) as caught:
        read(folder, made_by="dvc repro download")

    assert caught.value.fix == "dvc repro download"


def test_a_head_that_is_the_embedding_is_read(folder):
    expected = weights.load(folder, made_by="x").state_dict()
    rewrite(folder, lambda tensors: tensors.update({"lm_head.weight": tensors["transformer.wte.weight"].clone()}))

    weights.check(folder, made_by="x")
    found = weights.load(folder, made_by="x").state_dict()

    assert expected.keys() == found.keys()


def test_a_truncated_file_is_refused(folder):
    path = folder / weights.WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(DataError, match="not a whole safetensors file"):
        weights.load(folder, made_by="x")


@pytest.mark.parametrize("name", [weights.WEIGHTS, weights.CONFIG])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()

    with pytest.raises(DataError, match=f"{name}: no such file"):
        weights.load(folder, made_by="x")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("n_layer", "2", "n_layer: expected a positive whole number, found '2'"),
        ("n_head", 3, r"n_embd \(8\) is no multiple of n_head \(3\)"),
        ("n_embd", None, "n_embd: expected a positive whole number, found None"),
        ("model_type", "llama", "model_type: expected 'gpt2', found 'llama'"),
        ("activation_function", "relu", "activation_function: expected 'gelu_new', found 'relu'"),
    ],
)
def test_a_config_of_another_network_is_refused(folder, key, value, message):
    config = json.loads((folder / weights.CONFIG).read_text())
    (folder / weights.CONFIG).write_text(json.dumps(config | {key: value}))

    with pytest.raises(DataError, match=message):
        weights.load(folder, made_by="x")


@pytest.mark.slow
def test_a_file_that_is_read_takes_no_memory_beside_the_weights(tmp_path):
    """In bf16 the weights are half the file: the pages of the file itself must not stay with the process."""
    config = GPT2Config(n_layer=12, n_head=8, n_embd=512, n_positions=16, vocab_size=31)
    weights.save(weights.initialise(config, seed=1), tmp_path)
    size = (tmp_path / weights.WEIGHTS).stat().st_size
    program = """
import pathlib, sys, torch
from stages.gpt2 import weights
from stages.running.machine import peak_resident
before = peak_resident()
model = weights.load(pathlib.Path(sys.argv[1]), made_by="x", dtype=torch.bfloat16)
print(peak_resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)

    assert size / 2 < int(done.stdout) < 0.7 * size
