"""Samples of the machine while a model is trained."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.common.errors import ConfigError
from stages.running import gpu
from stages.running.tracking import sending, system_metrics, tracker
from tests.running.tracking.made import points, runs

INTERVAL = "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"
OF_THE_MACHINE = {
    "system/cpu_utilization_percentage",
    "system/system_memory_usage_megabytes",
    "system/system_memory_usage_percentage",
    "system/process_memory_megabytes",
}


def test_a_training_is_sampled_and_a_judging_is_not(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "FLUSH_SECONDS", 0.2)
    monkeypatch.setenv(INTERVAL, "1")
    with tracker.stage("finetune") as run:
        run.log_metrics({"loss/train": 8.0}, step=1)
        time.sleep(2.6)
    trained = runs(client)[0]
    found = {name for name in trained.data.metrics if name.startswith("system/")}
    assert found == OF_THE_MACHINE
    samples = points(client, trained.info.run_id, "system/process_memory_megabytes")
    assert [step for step, _ in samples][:2] == [0, 1]
    assert all(10 < value < 100_000 for _, value in samples)
    with tracker.stage("judge"):
        time.sleep(1.5)
    assert points(client, trained.info.run_id, "system/process_memory_megabytes") == samples


def test_it_is_off_where_mlflow_s_variable_says_so(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(system_metrics.ENABLED, "false")
    with tracker.stage("finetune"):
        time.sleep(1.5)
    assert not [name for name in runs(client)[0].data.metrics if name.startswith("system/")]


def test_a_wrong_interval_is_told_by_name_and_the_run_is_tracked(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(INTERVAL, "often")
    with tracker.stage("finetune") as run:
        run.log_metrics({"loss/train": 8.0}, step=1)
    said = capsys.readouterr().out
    assert f"tracking: no system metrics: {INTERVAL}: expected a number of seconds" in said
    assert points(client, runs(client)[0].info.run_id, "loss/train") == [(1, 8.0)]


def test_the_interval_is_no_negative_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INTERVAL, "-1")
    with pytest.raises(ConfigError):
        system_metrics.Sampler()


def test_only_the_gpus_of_the_stage_are_shown_in_their_order() -> None:
    listed = "GPU-a, 40, 1000, 80000, 250.5\nGPU-b, 7, [N/A], 80000, [N/A]\nGPU-other, 99, 1, 1, 1\n"
    assert system_metrics.of_cards(listed, ["GPU-b", "GPU-a", "MIG-x"]) == {
        "gpu_0_utilization_percentage": 7.0,
        "gpu_1_utilization_percentage": 40.0,
        "gpu_1_memory_usage_megabytes": 1048.576,
        "gpu_1_memory_usage_percentage": 1.25,
        "gpu_1_power_usage_watts": 250.5,
    }


def test_nvidia_smi_is_asked_for_the_leased_cards_and_not_again_once_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho x >> "$0.asked"\necho "GPU-a, 40, 1000, 80000, 250.5"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(gpu, "_last_lease", ("GPU-a",))
    sampler = system_metrics.Sampler()
    assert sampler._sample()["gpu_0_utilization_percentage"] == 40.0
    program.write_text('#!/bin/sh\necho x >> "$0.asked"\nexit 9\n')
    for _ in range(2):
        assert "gpu_0_utilization_percentage" not in sampler._sample()
    assert (tmp_path / "nvidia-smi.asked").read_text() == "x\nx\n"
