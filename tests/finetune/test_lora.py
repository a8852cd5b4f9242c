"""LoRA: it begins at the model as it was, trains its own numbers alone, and merges into a plain GPT-2."""

from __future__ import annotations

import importlib
import json

import pytest
import torch
from safetensors.torch import load_file

from stages.common.results.finetune import FINETUNE_METRICS, TUNED_MODEL
from stages.finetune import lora, trainer
from stages.gpt2 import weights
from stages.params.finetune import Lora
from tests import small_pipeline
from tests.finetune.test_trainer import RECIPE, TINY, a_run

SETTINGS = Lora(rank=2, alpha=8.0, targets=["c_attn", "c_fc"])
IDS = torch.arange(10)[None]


def logits(model):
    with torch.inference_mode():
        return model.logits(model(IDS))


def trained(dtype=torch.float32):
    model = weights.initialise(TINY, seed=0)
    lora.attach(model, SETTINGS, seed=1)
    trainer.fit(model, a_run(RECIPE.model_copy(update={"lora": SETTINGS}), dtype=dtype), on_step=lambda _: None)
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


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A folder in which the stages have run with LoRA on all projections."""
    settings = {"rank": 2, "alpha": 4, "targets": ["c_attn", "c_proj", "c_fc"]}
    folder = small_pipeline.make(tmp_path_factory.mktemp("lora"), overlay={"finetune": {"lora": settings}})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PIPELINE_MLFLOW_RUN_ID", "none")
        for stage in ("download", "split", "tokenize", "finetune"):
            importlib.import_module(f"stages.{stage}.__main__").main()
    return folder


#: The projections of a layer of GPT2LMHeadModel, [in, out] for the width of 16.
PROJECTIONS = {
    "attn.c_attn": (16, 48),
    "attn.c_proj": (16, 16),
    "mlp.c_fc": (16, 64),
    "mlp.c_proj": (64, 16),
}


def test_the_adapter_has_the_names_and_shapes_of_peft_s_format(tuned):
    # https://huggingface.co/docs/peft/developer_guides/checkpoint: adapter_config.json and adapter_model.safetensors;
    # keys are "base_model.model." before the module's name in the base model, then lora_A [r, in] and lora_B [out, r],
    # without the adapter's own name.
    folder = tuned / TUNED_MODEL / "adapter"
    tensors = load_file(folder / "adapter_model.safetensors")
    config = json.loads((folder / "adapter_config.json").read_text())

    expected = {}
    for layer in range(2):
        for name, (inputs, outputs) in PROJECTIONS.items():
            key = f"base_model.model.transformer.h.{layer}.{name}"
            expected |= {f"{key}.lora_A.weight": (2, inputs), f"{key}.lora_B.weight": (outputs, 2)}
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == expected
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())
    assert config == {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "artifacts/download/model",
        "inference_mode": True,
        "r": 2,
        "lora_alpha": 4.0,
        "lora_dropout": 0.0,
        "target_modules": ["c_attn", "c_fc", "c_proj"],
        "fan_in_fan_out": True,
        "bias": "none",
    }
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


def test_the_adapter_on_the_base_model_that_it_names_is_the_merged_model(tuned, monkeypatch):
    # What PEFT does on loading, with transformers' model: a module is adapted if its name ends with one of the
    # targets, and to its weight, stored [in, out] (fan_in_fan_out), comes (B A)^T alpha / r.
    from transformers import GPT2LMHeadModel

    monkeypatch.chdir(tuned)
    adapter = load_file(TUNED_MODEL / "adapter" / "adapter_model.safetensors")
    config = json.loads((TUNED_MODEL / "adapter" / "adapter_config.json").read_text())
    base = GPT2LMHeadModel.from_pretrained(config["base_model_name_or_path"])
    before = base(IDS).logits
    for name, module in base.named_modules():
        if any(name.endswith(f".{target}") for target in config["target_modules"]):
            a, b = (adapter.pop(f"base_model.model.{name}.lora_{part}.weight") for part in "AB")
            module.weight.data += (b @ a).t() * config["lora_alpha"] / config["r"]

    assert adapter == {}
    merged = GPT2LMHeadModel.from_pretrained(TUNED_MODEL)
    torch.testing.assert_close(base(IDS).logits, merged(IDS).logits, rtol=1e-5, atol=1e-5)
    assert (merged(IDS).logits - before).abs().max() > 1e-4


@pytest.mark.thorough  # importing PEFT takes seconds
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # of PEFT
def test_peft_loads_the_adapter(tuned, monkeypatch):
    peft = pytest.importorskip("peft", reason="PEFT is not installed")
    from transformers import GPT2LMHeadModel

    monkeypatch.chdir(tuned)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    adapted = peft.AutoPeftModelForCausalLM.from_pretrained(TUNED_MODEL / "adapter")
    merged = GPT2LMHeadModel.from_pretrained(TUNED_MODEL)

    torch.testing.assert_close(adapted(IDS).logits, merged(IDS).logits, rtol=1e-5, atol=1e-5)


def test_the_updates_are_counted(tuned):
    metrics = json.loads((tuned / FINETUNE_METRICS).read_text())

    assert metrics["trained_parameters"] == 2 * 2 * sum(map(sum, PROJECTIONS.values()))
