"""The gpt2-medium profile's code path: a hub and an Ollama on loopback, the published form of the weights."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.common import files
from stages.common.results.finetune import FINETUNE_METRICS
from stages.common.results.judge import JUDGE_METRICS
from stages.common.results.tokenize import TOKENS_METRICS
from tests import fake_hub, fake_ollama, published_model, small_pipeline
from tests.root import ROOT

STAGES = ("download", "split", "tokenize", "finetune", "generate", "judge")
REPO = "openai-community/gpt2-medium"
REVISION = "6dcaa7a952f72f9298047fd5137cd6e4f05f41da"
BOOK = ROOT / ".." / "shared" / "data" / "instruction-data.json"


def overlay(published: Path, **model: int) -> dict:
    """The profile's values, but for the weights and the time they take."""
    profile = small_pipeline.read_yaml(ROOT / "profiles" / "gpt2-medium.yaml")
    profile["download"]["model"] |= model | {
        "sha256": files.sha256(published / "model.safetensors"),
        "config_sha256": files.sha256(published / "config.json"),
    }
    profile["download"]["data"] = {"source": "data/instructions.json", "sha256": None}
    profile["tokenize"]["context_length"] = model.get("n_positions", 1024)
    profile["finetune"]["max_steps"] = 2
    profile["generate"]["max_new_tokens"] = 4
    return profile


def test_hub_weights_are_tuned_and_judged_by_ollama(tmp_path, monkeypatch):
    config = published_model.GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=128)
    published_model.write(config, tmp_path / "hub")
    sizes = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 128}
    monkeypatch.chdir(small_pipeline.make(tmp_path / "run", overlay=overlay(tmp_path / "hub", **sizes)))
    monkeypatch.setenv("PIPELINE_MLFLOW_RUN_ID", "none")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))

    with fake_hub.serving(tmp_path / "hub", REPO, REVISION) as hub, fake_ollama.FakeOllama() as ollama:
        # huggingface_hub reads HF_ENDPOINT when it is imported, so download is a process of its own.
        download = [sys.executable, "-m", "stages.download"]
        environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "PYTHONPATH": str(ROOT)}
        subprocess.run(download, check=True, env=environment)
        monkeypatch.setenv("OLLAMA_HOST", ollama.address)
        for stage in STAGES[1:]:
            importlib.import_module(f"stages.{stage}.__main__").main()

    judged = json.loads(JUDGE_METRICS.read_text())
    assert judged["judge"]["backend"] == "ollama"
    assert judged["tuned"]["scored"] == judged["base"]["scored"] == 4
    assert json.loads(FINETUNE_METRICS.read_text())["steps"] == 2


@pytest.mark.skipif(not BOOK.is_file(), reason="the book's dataset is not at ../shared/data/instruction-data.json")
def test_the_book_s_dataset_gives_the_book_s_numbers(tmp_path, monkeypatch):
    source = {"source": str(BOOK), "sha256": files.sha256(BOOK)}
    wanted = {
        "download": {"data": source, "model": {"n_positions": 1024}},
        "tokenize": {"context_length": 1024, "loss_on": "all"},
    }
    monkeypatch.chdir(small_pipeline.make(tmp_path, overlay=wanted))
    monkeypatch.setenv("PIPELINE_MLFLOW_RUN_ID", "none")

    for stage in ("download", "split", "tokenize"):
        importlib.import_module(f"stages.{stage}.__main__").main()

    counts = json.loads(TOKENS_METRICS.read_text())
    assert [counts[split]["rows"] for split in ("train", "test", "val")] == [935, 110, 55]
    # Two epochs of 935 rows; the first token of a row is never predicted, so a row of n ids is n - 1 tokens.
    assert 2 * (counts["train"]["tokens"] - 935) == 105_520


@pytest.mark.slow
def test_gpt2_medium_at_full_size(tmp_path):
    published_model.write(published_model.SIZES["gpt2-medium"], tmp_path / "hub")
    folder = small_pipeline.make(tmp_path / "run", overlay=overlay(tmp_path / "hub"))
    with fake_hub.serving(tmp_path / "hub", REPO, REVISION) as hub, fake_ollama.FakeOllama() as ollama:
        environment = os.environ | {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "OLLAMA_HOST": ollama.address,
            "PIPELINE_MLFLOW_RUN_ID": "none",
            "PYTHONPATH": str(ROOT),
        }
        for stage in STAGES:
            subprocess.run([sys.executable, "-m", f"stages.{stage}"], check=True, env=environment, cwd=folder)

    assert json.loads((folder / FINETUNE_METRICS).read_text())["parameters"] == 354_823_168
    assert json.loads((folder / JUDGE_METRICS).read_text())["tuned"]["scored"] == 4
