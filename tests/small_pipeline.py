"""A whole pipeline small enough for a test: forty rows, a GPT-2 of two layers, two steps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.params import reading, whole
from tests.root import ROOT

#: Over params.yaml: small, and in fp32 so that any machine runs the same arithmetic.
SMALL: dict[str, Any] = {
    "download": {"model": {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 128}},
    "split": {"train": 0.85, "test": 0.1},
    "tokenize": {"context_length": 128},
    "finetune": {"epochs": 1, "max_steps": 2, "batch_size": 4, "eval_every": 1, "precision": "fp32", "warmup_steps": 0},
    "generate": {"max_new_tokens": 4, "precision": "fp32"},
    "judge": {"bootstrap_resamples": 100},
}


def rows(count: int = 40) -> list[dict[str, str]]:
    """Rows of the bundled dataset."""
    found: list[dict[str, str]] = json.loads((ROOT / "assets" / "data" / "instructions.json").read_text())
    return found[:count]


def read_yaml(path: Path) -> Any:
    """A YAML file as plain Python."""
    return YAML(typ="safe").load(path)


def write_params(folder: Path, overlay: dict[str, Any]) -> None:
    """Put an overlay over a folder's params.yaml."""
    yaml = YAML()
    path = folder / "params.yaml"
    tree = yaml.load(path)
    reading.merge(tree, overlay)
    whole.check(tree)
    yaml.dump(tree, path)


def make(folder: Path, *, overlay: dict[str, Any] | None = None, data: Any = None) -> Path:
    """A folder in which the stages' programs run: params.yaml, dvc.yaml and data/."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, folder / name)
    write_params(folder, SMALL)
    write_params(folder, overlay or {})
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "instructions.json").write_text(json.dumps(rows() if data is None else data))
    return folder
