"""The fine-tuning stage: what it says and writes of a run that stops early, and recipes that it refuses."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.common import token_files
from stages.common.errors import ConfigError
from stages.common.results.finetune import FINETUNE_METRICS, HISTORY, TUNED_MODEL
from stages.common.results.tokenize import tokens_file
from stages.common.token_files import TokenBatch, TokenRows
from stages.finetune import passes
from stages.finetune.__main__ import main
from stages.gpt2 import weights
from stages.running.tracking import live
from tests import small_pipeline
from tests.root import ROOT


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that fine-tuning reads."""
    folder = small_pipeline.make(tmp_path_factory.mktemp("finetune"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv(live.RUN_ID_VARIABLE, "none")
        for stage in ("download", "split", "tokenize"):
            importlib.import_module(f"stages.{stage}.__main__").main()
    return folder


@pytest.fixture
def run(prepared: Path, monkeypatch: pytest.MonkeyPatch):
    """Fine-tune with some values changed."""
    monkeypatch.chdir(prepared)
    monkeypatch.setenv(live.RUN_ID_VARIABLE, "none")

    def finetuned(**changed: object) -> None:
        small_pipeline.write_params(prepared, small_pipeline.SMALL)
        small_pipeline.write_params(prepared, {"finetune": changed})
        main()

    return finetuned


def jsonl(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_that_stops_early_reports_the_model_that_it_delivers(run, capsys):
    # The rate is so high that the first steps help and later ones harm.
    run(epochs=20, max_steps=60, learning_rate=0.1, schedule="constant", eval_every=3, patience=2, clip_norm=None)

    said = capsys.readouterr().out
    metrics = json.loads(FINETUNE_METRICS.read_text())
    history = jsonl(HISTORY)
    losses = {row["step"]: row["val_loss"] for row in history if "val_loss" in row}
    best = min((loss, step) for step, loss in losses.items() if step)
    assert (metrics["val_loss"], metrics["kept_step"]) == best
    assert (metrics["best_val_loss"], metrics["best_step"]) == best
    assert metrics["steps"] == history[-1]["step"] == best[1] + 6 < 60
    assert metrics["last_val_loss"] == history[-1]["val_loss"] > metrics["val_loss"]
    assert f"stopped early, after step {metrics['steps']} of 60" in said
    assert f"the weights kept are the best, those of step {best[1]}" in said
    assert f"→ {best[0]:.3f}; the model: artifacts/finetune/model" in said

    model = weights.load(TUNED_MODEL, made_by="x")
    rows = TokenRows(tokens_file("val"), made_by="x")
    assert passes.Evaluation(model, rows, "response")() == pytest.approx(metrics["val_loss"], rel=1e-6)


def test_the_best_weights_of_a_run_that_goes_to_its_end_are_no_early_stop(run, capsys):
    run(epochs=20, max_steps=60, learning_rate=0.1, schedule="constant", eval_every=3, patience=99, clip_norm=None)

    said = capsys.readouterr().out
    metrics = json.loads(FINETUNE_METRICS.read_text())
    assert metrics["kept_step"] < metrics["steps"] == 60
    assert "stopped early" not in said
    assert f"the weights kept are the best, those of step {metrics['kept_step']}" in said


@pytest.mark.parametrize("warmup", [2, 50])
def test_a_warm_up_that_never_ends_is_refused(run, warmup):
    with pytest.raises(ConfigError, match=f"finetune.warmup_steps is {warmup}, and the run has 2 steps") as error:
        run(warmup_steps=warmup)

    assert "set finetune.warmup_steps to less than 2" in str(error.value)


PEAK = """
import resource
from stages.finetune.__main__ import main
main()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_many_rows_take_the_memory_of_few(prepared: Path, tmp_path: Path) -> None:
    """Of a row, main memory has its place in the order of an epoch and its lengths; the file of tokens is mapped."""
    folder = tmp_path / "project"
    shutil.copytree(prepared, folder)
    small_pipeline.write_params(folder, small_pipeline.SMALL)
    small_pipeline.write_params(folder, {"finetune": {"max_steps": 3, "batch_size": 8, "accumulate": 1, "epochs": 1}})
    peaks = {}
    for count in (1_000, 200_000):
        batches = (
            TokenBatch(
                [f"{start + number:012}" for number in range(1000)],
                np.full(12_000, 7, dtype=np.uint16),
                np.full(1000, 12, dtype=np.int64),
                np.full(1000, 8, dtype=np.int32),
            )
            for start in range(0, count, 1000)
        )
        token_files.write(folder / tokens_file("train"), batches)
        done = subprocess.run(
            [sys.executable, "-c", PEAK],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), live.RUN_ID_VARIABLE: "none"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert f"{count:,} train rows" in done.stdout
        peaks[count] = int(done.stdout.split()[-1]) * 1024
    growth = (peaks[200_000] - peaks[1_000]) / 199_000
    print(f"peaks {peaks}, {growth:.0f} bytes a row")
    assert growth < 150
