"""The splits as datasets of MLflow."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from mlflow import MlflowClient

from stages.common.files import write_jsonl
from stages.common.results.split import split_file
from stages.running.tracking import datasets
from tests.running.tracking.made import through_the_flow


def inputs(client: MlflowClient, run_id: str) -> dict[str, tuple[str, str]]:
    """Digest and context of each dataset, by name."""
    found = client.get_run(run_id).inputs.dataset_inputs
    return {one.dataset.name: (one.dataset.digest, one.tags[0].value) for one in found}


def test_each_split_is_a_dataset_with_the_digest_of_dvc_and_its_use(project: Path, client: MlflowClient) -> None:
    row = {"id": "t", "instruction": "a", "input": "", "output": "b", "category": "c"}
    for split in ("train", "val"):
        write_jsonl(split_file(split), [row | {"id": split}])
    run_id = through_the_flow(project, {"judge"})
    md5 = {split: hashlib.md5(split_file(split).read_bytes()).hexdigest() for split in ("train", "val", "test")}
    assert inputs(client, run_id) == {
        "train.jsonl": (md5["train"], "train"),
        "val.jsonl": (md5["val"], "validation"),
        "test.jsonl": (md5["test"], "test"),
    }
    train = next(one.dataset for one in client.get_run(run_id).inputs.dataset_inputs if "train" in one.dataset.name)
    assert json.loads(train.profile) == {"num_rows": 8}
    assert json.loads(train.source) == {"path": "artifacts/split/train.jsonl", "md5": md5["train"]}


def test_logging_them_again_adds_none(project: Path, client: MlflowClient) -> None:
    run_id = through_the_flow(project, {"judge"})
    datasets.log(client, run_id, project)
    assert list(inputs(client, run_id)) == ["test.jsonl"]
    assert len(client.get_run(run_id).inputs.dataset_inputs) == 1
