"""LoRA: it begins at the model as it was, trains its own numbers alone, and merges into a plain GPT-2."""

from __future__ import annotations

import importlib
import json

import pytest
import torch
from safetensors.torch import load_file

from stages.common import paths
from stages.common.params import Lora
from stages.gpt2 import weights
from stages.sft import lora, trainer
from tests import small_pipeline
from tests.test_sft_trainer import RECIPE, TINY, TRAIN, VAL

SETTINGS = Lora(rank=2, alpha=8.0, targets=["c_attn", "c_fc"])
IDS = torch.arange(10)[None]


def logits(model):
    with torch.inference_mode():
        return model.logits(model(IDS))


def trained(dtype=torch.float32):
    model = weights.initialise(TINY, seed=0)
    lora.attach(model, SETTINGS, seed=1)
    trainer.fit(
        model,
        TRAIN,
        VAL,
        RECIPE.model_copy(update={"lora": SETTINGS}),
        loss_on="all",
        dtype=dtype,
        on_step=lambda _: None,
        on_epoch=lambda _: {},
    )
    return model


def test_it_begins_at_the_model_as_it_was():
    model = weights.initialise(TINY, seed=0)
    expected = logits(model)

    lora.attach(model, SETTINGS, seed=1)

    assert torch.equal(logits(model), expected)


def test_only_the_updates_are_trained():
    model = weights.initialise(TINY, seed=0)
    lora.attach(model, SETTINGS, seed=1)
    trainable = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}

    # Of each layer: c_attn is 16 x 48 and c_fc 16 x 64; a rank of 2 takes 2 * (in + out) numbers.
    assert sum(trainable.values()) == TINY.n_layer * 2 * ((16 + 48) + (16 + 64))
    assert all("lora_" in name for name in trainable)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_leaves_the_frozen_weights_as_they_were_to_the_bit(dtype):
    start = dict(weights.initialise(TINY, seed=0).named_parameters())
    model = trained(dtype)

    for name, parameter in model.named_parameters():
        if "lora_" not in name:
            assert torch.equal(parameter, start[name.replace(".base.", ".")]), name
    assert not torch.equal(logits(model), logits(weights.initialise(TINY, seed=0)))


def test_merging_changes_no_answer_and_gives_a_plain_model():
    model = trained()
    expected = logits(model)

    lora.merge(model)

    torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-5)
    assert [name for name, _ in model.named_parameters()] == [
        name for name, _ in weights.initialise(TINY, seed=0).named_parameters()
    ]


def test_the_stage_saves_the_merged_model_and_the_adapter_beside_it(tmp_path, monkeypatch):
    settings = {"rank": 2, "alpha": 4, "targets": ["c_attn"]}
    monkeypatch.chdir(small_pipeline.make(tmp_path, overlay={"finetune": {"lora": settings}}))
    monkeypatch.setenv("PIPELINE_MLFLOW_RUN_ID", "none")
    for stage in ("download", "split", "tokenize", "finetune"):
        importlib.import_module(f"stages.{stage}").main()

    base = weights.load(paths.BASE_MODEL, made_by="x").h[1].attn.c_attn.weight
    tuned = weights.load(paths.TUNED_MODEL, made_by="x").h[1].attn.c_attn.weight
    adapter = load_file(paths.TUNED_MODEL / "adapter" / "adapter_model.safetensors")
    config = json.loads((paths.TUNED_MODEL / "adapter" / "adapter_config.json").read_text())
    name = "base_model.model.transformer.h.1.attn.c_attn"
    update = adapter[f"{name}.lora_B.weight"] @ adapter[f"{name}.lora_A.weight"]

    torch.testing.assert_close(tuned, base + update.t() * config["lora_alpha"] / config["r"], rtol=0, atol=1e-7)
    assert not torch.equal(tuned, base)
    assert json.loads(paths.FINETUNE_METRICS.read_text())["trained_parameters"] == 2 * 2 * (16 + 48)
