"""The split stage as a program: what it writes and says, and that a refusal changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
    (tmp_path / "artifacts/download").mkdir(parents=True)
    return tmp_path


def test_the_program(project: Path) -> None:
    source = project / "artifacts/download/dataset.json"
    outputs = project / "artifacts/split"
    source.write_text(json.dumps([*rows(38), row("i0", "other"), row("i1")]))
    done = run(project)
    assert done.returncode == 0, done.stderr
    assert "40 rows: 36 train, 2 test, 2 val; categories: 1" in done.stdout
    assert "warning: 2 val rows also occur in train" in done.stdout
    first = {path.name: path.read_bytes() for path in outputs.iterdir()}
    assert set(first) == {"train.jsonl", "test.jsonl", "val.jsonl", "metrics.json"}
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
