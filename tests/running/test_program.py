"""A stage as a program: its section of params.yaml, and the signals that stop it."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.params import reading, whole
from stages.params.finetune import Finetune
from stages.params.split import Split
from stages.running import program
from tests import small_pipeline
from tests.root import ROOT

PROFILES = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))


@pytest.mark.parametrize("profile", PROFILES)
def test_a_section_is_what_params_yaml_says(profile, tmp_path, monkeypatch):
    """No module between the file and the stage changes a value: DVC watches the file, and not these modules."""
    tree = YAML(typ="safe").load(ROOT / "params.yaml")
    reading.merge(tree, YAML(typ="safe").load(ROOT / "profiles" / f"{profile}.yaml"))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    with open(tmp_path / "params.yaml", "w", encoding="utf-8") as file:
        YAML(typ="safe").dump(tree, file)
    monkeypatch.chdir(tmp_path)
    sections = {name: field.annotation for name, field in whole.Params.model_fields.items() if name != "profile"}

    assert {name: program.section(kind).model_dump() for name, kind in sections.items()} == {
        name: tree[name] for name in sections
    }


def test_lora_over_random_weights_is_warned_of_before_the_training(tmp_path, monkeypatch, capsys):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    lora = {"rank": 2, "alpha": 2, "targets": ["c_attn"]}
    small_pipeline.write_params(tmp_path, {"finetune": {"lora": lora}})
    monkeypatch.chdir(tmp_path)

    program.section(Split)
    assert capsys.readouterr().out == ""
    program.section(Finetune)
    assert capsys.readouterr().out.startswith(
        "warning: LoRA over random weights: all but its small updates stays random"
    )


#: A stage that waits for a signal, and stops by itself after some seconds.
_WAITING = """
import time
from stages.running import program

def main():
    print("waiting", flush=True)
    time.sleep(2)
    print("done", flush=True)

program.run("split", main)
"""


def _stopped_by(number: signal.Signals, folder: Path, *before: str) -> tuple[int, str, str]:
    """The exit code and the output of a stage that gets a signal while it works."""
    command = [*before, sys.executable, "-c", _WAITING]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as stage:
        assert stage.stdout
        assert stage.stdout.readline() == "waiting\n"
        stage.send_signal(number)
        said, told = stage.communicate(timeout=60)
    return stage.returncode, said, told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_that_stops_a_stage_ends_it_with_75(tmp_path: Path, number: signal.Signals) -> None:
    told = f"split: stopped by {number.name}; run the same command again\n"
    assert _stopped_by(number, tmp_path) == (75, "", told)


def test_a_stage_started_by_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    code, said, _ = _stopped_by(signal.SIGHUP, tmp_path, "nohup")
    assert (code, said) == (0, "done\n")


def test_a_stage_whose_terminal_is_closed_ends_as_one_that_is_stopped(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    streams: Any = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with subprocess.Popen(
        [sys.executable, "-c", _WAITING], cwd=tmp_path, env=environment, **streams, start_new_session=True
    ) as stage:
        os.close(theirs)
        assert os.read(ours, 100).startswith(b"waiting")
        os.close(ours)
        stage.send_signal(signal.SIGHUP)
        assert stage.wait(60) == 75
