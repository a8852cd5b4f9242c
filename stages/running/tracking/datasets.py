"""The rows of a run as datasets of MLflow: each with the digest by which DVC names it, and with its use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from stages.common.errors import DataError
from stages.common.metrics.split import SplitMetrics
from stages.common.records import read_metrics
from stages.common.results.split import SPLIT_METRICS, Example, split_file
from stages.running import digests

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

#: What each split is used for, in MLflow's words.
CONTEXTS = {"train": "train", "val": "validation", "test": "test"}
#: MLflow's own tag of a dataset's use.
_CONTEXT = "mlflow.data.context"


def log(mlflow: MlflowClient, run_id: str, root: Path) -> None:
    """Log the splits under ``root`` as the run's inputs, but for those that it has already.

    Args:
        mlflow: the client.
        run_id: id of the run.
        root: folder with artifacts/.
    """
    there = {
        (one.dataset.name, one.dataset.digest) for one in getattr(mlflow.get_run(run_id).inputs, "dataset_inputs", [])
    }
    new = [one for one in _inputs(root) if (one.dataset.name, one.dataset.digest) not in there]
    if new:
        mlflow.log_inputs(run_id, new)


def _inputs(root: Path) -> list[DatasetInput]:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    rows = _rows(root)
    found = []
    for split, context in CONTEXTS.items():
        path = split_file(split)
        if (root / path).is_file():
            dataset = Dataset(
                name=f"{split}.jsonl",
                digest=digests.md5(root / path),
                source_type="dvc",
                source=json.dumps({"path": str(path), "md5": digests.md5(root / path)}),
                schema=json.dumps({"mlflow_colspec": [_column(name) for name in Example.model_fields]}),
                profile=json.dumps({"num_rows": rows[split]} if split in rows else {}),
            )
            found.append(DatasetInput(dataset, [InputTag(_CONTEXT, context)]))
    return found


def _column(name: str) -> dict[str, object]:
    return {"type": "string", "name": name, "required": True}


def _rows(root: Path) -> dict[str, int]:
    """The number of rows of each split; nothing where the metrics are missing or broken, which the stage tells."""
    try:
        return dict(read_metrics(root / SPLIT_METRICS, SplitMetrics, made_by="dvc repro split").rows)
    except DataError:
        return {}
