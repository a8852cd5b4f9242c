"""The six programs one after the other: exact files, the same bytes each time, and bad input."""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path

import pytest

from stages.common import errors, paths
from stages.common.results.download import BASE_MODEL, DATASET
from stages.common.results.finetune import FINETUNE_METRICS, HISTORY, TUNED_MODEL
from stages.common.results.generate import RESPONSES
from stages.common.results.judge import JUDGE_METRICS, VERDICTS
from stages.common.results.split import split_file
from stages.common.results.tokenize import TOKENS_METRICS, tokens_file
from tests import small_pipeline, token_rows

STAGES = ("download", "split", "tokenize", "finetune", "generate", "judge")

FILES = {
    "download/dataset.json",
    "download/left_out.json",
    "download/model/config.json",
    "download/model/model.safetensors",
    "download/tokenizer/encoder.json",
    "download/tokenizer/vocab.bpe",
    "split/metrics.json",
    "split/report.html",
    "split/report.json",
    "split/test.jsonl",
    "split/train.jsonl",
    "split/val.jsonl",
    "tokenize/format.json",
    "tokenize/metrics.json",
    "tokenize/shown.html",
    "tokenize/test.arrow",
    "tokenize/train.arrow",
    "tokenize/val.arrow",
    "finetune/history.jsonl",
    "finetune/loss.csv",
    "finetune/metrics.json",
    "finetune/model/README.md",
    "finetune/model/config.json",
    "finetune/model/generation_config.json",
    "finetune/model/merges.txt",
    "finetune/model/model.safetensors",
    "finetune/model/prompt_style.json",
    "finetune/model/tokenizer_config.json",
    "finetune/model/vocab.json",
    "generate/metrics.json",
    "generate/responses.jsonl",
    "judge/metrics.json",
    "judge/pairwise.jsonl",
    "judge/scores.csv",
    "judge/scores.json",
    "judge/scores.png",
    "judge/verdicts.jsonl",
}


@pytest.fixture(autouse=True)
def _untracked(monkeypatch):
    monkeypatch.setenv("PIPELINE_MLFLOW_RUN_ID", "none")


def run(*stages: str) -> None:
    for stage in stages:
        importlib.import_module(f"stages.{stage}.__main__").main()


def digests() -> dict[str, str]:
    """The SHA-256 of every file under artifacts/."""
    return {
        path.relative_to(paths.ARTIFACTS).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths.ARTIFACTS.rglob("*"))
        if path.is_file()
    }


def jsonl(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a finished run."""
    folder = small_pipeline.make(tmp_path_factory.mktemp("finished"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PIPELINE_MLFLOW_RUN_ID", "none")
        run(*STAGES)
    return folder


def test_a_run_writes_these_files_and_no_others(finished, monkeypatch):
    monkeypatch.chdir(finished)

    assert set(digests()) == FILES


def test_a_second_run_elsewhere_gives_the_same_bytes(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(finished)
    expected = digests()
    monkeypatch.chdir(small_pipeline.make(tmp_path / "elsewhere"))

    run(*STAGES)

    assert digests() == expected


def test_the_figures_agree_with_one_another(finished, monkeypatch):
    monkeypatch.chdir(finished)
    history = jsonl(HISTORY)
    metrics = json.loads(FINETUNE_METRICS.read_text())
    responses = jsonl(RESPONSES)
    verdicts = jsonl(VERDICTS)
    judged = json.loads(JUDGE_METRICS.read_text())
    test_ids = [row["id"] for row in jsonl(split_file("test"))]

    assert [row["step"] for row in history] == [0, 1, 2]
    assert metrics["steps"] == 2
    assert metrics["val_loss"] == history[-1]["val_loss"]
    assert metrics["rows_train"] == 34
    assert [(row["model"], row["id"]) for row in responses] == [(m, i) for m in ("base", "tuned") for i in test_ids]
    assert len(verdicts) == len(responses) == 8
    assert judged["tuned"]["n"] == judged["base"]["n"] == 4
    assert judged["tuned"]["scored"] + judged["tuned"].get("open", 0) == 4


def test_the_model_that_is_saved_is_loaded_by_transformers_with_its_tokenizer(finished, monkeypatch):
    from transformers import AutoTokenizer, GPT2LMHeadModel

    monkeypatch.chdir(finished)
    model = GPT2LMHeadModel.from_pretrained(TUNED_MODEL)
    tokenizer = AutoTokenizer.from_pretrained(TUNED_MODEL)
    row = token_rows.read(tokens_file("test"))[0]

    assert model.config.n_layer == 2
    assert tokenizer(tokenizer.decode(row["ids"][:-1]))["input_ids"] == row["ids"][:-1]


def test_evaluating_more_often_gives_the_same_model(finished, tmp_path, monkeypatch):
    expected = hashlib.sha256((finished / TUNED_MODEL / "model.safetensors").read_bytes()).hexdigest()
    monkeypatch.chdir(small_pipeline.make(tmp_path, overlay={"finetune": {"eval_every": 2}}))

    run("download", "split", "tokenize", "finetune")

    assert digests()["finetune/model/model.safetensors"] == expected


@pytest.mark.parametrize("style", ["alpaca", "phi3"])
def test_the_prompt_style_is_stored_with_the_model(tmp_path, monkeypatch, style):
    monkeypatch.chdir(small_pipeline.make(tmp_path, overlay={"tokenize": {"prompt_style": style}}))

    run("download", "split", "tokenize", "finetune")

    assert json.loads((TUNED_MODEL / "prompt_style.json").read_text())["name"] == style


def test_rows_that_do_not_fit_the_context_are_counted_and_named(finished, tmp_path, monkeypatch):
    long = small_pipeline.rows()
    long[0] = {"instruction": "word " * 200, "input": "", "output": "x"}
    long[1] = {"instruction": "Say it.", "input": "", "output": "word " * 200}
    monkeypatch.chdir(small_pipeline.make(tmp_path, data=long))

    run("download", "split", "tokenize")

    counts = json.loads(TOKENS_METRICS.read_text())["train"]
    ids = [row["id"] for row in jsonl(split_file("train"))]
    encoded = {row["id"]: row for row in token_rows.read(tokens_file("train"))}
    assert counts["dropped"] == [ids[0]]
    assert counts["over_context"] == [ids[0], ids[1]]
    assert ids[0] not in encoded
    assert len(encoded[ids[1]]["ids"]) == 128


def test_a_context_that_no_prompt_fits_is_a_wrong_value(finished, monkeypatch):
    monkeypatch.chdir(finished)
    before = digests()
    small_pipeline.write_params(finished, {"tokenize": {"context_length": 8}})
    try:
        with pytest.raises(errors.ConfigError, match="no row has a prompt shorter than 8 tokens") as caught:
            run("tokenize")
    finally:
        small_pipeline.write_params(finished, small_pipeline.SMALL)
    assert caught.value.fix == "raise tokenize.context_length in params.yaml"
    assert digests() == before


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        ("split", DATASET),
        ("tokenize", split_file("val")),
        ("finetune", tokens_file("train")),
        ("finetune", BASE_MODEL / "model.safetensors"),
        ("generate", tokens_file("test")),
        ("generate", TUNED_MODEL / "config.json"),
        ("judge", RESPONSES),
    ],
)
def test_a_missing_file_is_named_with_the_command_that_makes_it(finished, monkeypatch, stage, missing):
    monkeypatch.chdir(finished)
    before = digests()
    kept = missing.rename(missing.with_name("kept"))
    try:
        with pytest.raises(errors.DataError, match="no such file") as caught:
            run(stage)
    finally:
        kept.rename(missing)

    assert str(missing) in str(caught.value)
    assert caught.value.fix.startswith("dvc repro")
    assert digests() == before
