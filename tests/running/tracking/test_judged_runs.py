"""The runs that a judge has scored: read from MLflow's database, and asked for as of a server."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from stages.running.tracking import judged_runs, mlflow_access


def test_without_a_database_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert judged_runs.judged(tmp_path, "ab12") == []
    sqlite3.connect(tmp_path / "mlflow.db").execute("CREATE TABLE runs (x)").connection.close()
    assert judged_runs.judged(tmp_path, "ab12") == []


@pytest.mark.slow  # MLflow makes a database
def test_those_of_the_judge_that_have_finished_are_found_the_newest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    mlflow_access.load()
    client = mlflow_access.client_of(address)
    kept = tmp_path / "kept here"
    for experiment, runs in (
        ("instruct-pipeline/quick", ["first", "failed", "other judge", "deleted", "last"]),
        ("somebody's", ["no run of ours"]),
    ):
        made = client.create_experiment(experiment, artifact_location=kept.as_uri())
        for name in runs:
            run_id = client.create_run(made, run_name=name).info.run_id
            client.set_tag(run_id, "judge.fingerprint", "cd34" if name == "other judge" else "ab12")
            client.log_param(run_id, "finetune.seed", "7")
            if name == "last":
                client.set_tag(run_id, "results.sha256", "5ca1e")
            (tmp_path / "verdicts.jsonl").write_text(name)
            client.log_artifact(run_id, str(tmp_path / "verdicts.jsonl"), "judge")
            client.set_terminated(run_id, "FAILED" if name == "failed" else "FINISHED")
            if name == "deleted":
                client.delete_run(run_id)

    found = judged_runs.judged(tmp_path, "ab12")
    assert [run.name for run in found] == ["last", "first"]
    assert [run.results for run in found] == ["5ca1e", ""]
    assert [run.values for run in found] == [{"finetune": {"seed": 7}}] * 2
    files = found[0].files(tmp_path, ["judge/verdicts.jsonl"], tmp_path)
    assert files is not None
    assert files[0].read_text() == "last"
    assert found[0].files(tmp_path, ["judge/verdicts.jsonl", "judge/metrics.json"], tmp_path) is None

    asked = judged_runs._of_server(address, "ab12")
    assert [(run.run_id, run.name, run.values, run.results) for run in asked] == [
        (one.run_id, one.name, one.values, one.results) for one in found
    ]
    (tmp_path / "fetched").mkdir()
    fetched = asked[1].files(tmp_path, ["judge/verdicts.jsonl"], tmp_path / "fetched")
    assert fetched is not None
    assert fetched[0].read_text() == "first"
    assert asked[1].files(tmp_path, ["judge/metrics.json"], tmp_path / "fetched") is None
    assert judged_runs._of_server(address, "it's") == []
