"""What was made of the same inputs before is taken from DVC's run cache, also where DVC does not look there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dvc.stage.cache import _get_cache_hash
from ruamel.yaml import YAML

from stages.running import run_cache
from tests.root import ROOT


def test_an_entry_has_the_name_that_dvc_gives_it():
    entries = YAML(typ="safe").load(ROOT / "dvc.lock")["stages"]

    for name in ("download", "split", "tokenize", "finetune", "generate", "judge"):
        expected = _get_cache_hash(YAML(typ="safe").load(ROOT / "dvc.lock")["stages"][name], key=True)
        assert run_cache.key(entries[name]) == expected


@pytest.mark.parametrize(
    ("command", "asks"),
    [
        ("dvc repro", False),
        ("dvc repro -s finetune", False),
        ("dvc repro -fs finetune", True),
        ("dvc repro --force", True),
        ("dvc repro --force-downstream", True),
        ("dvc repro --no-run-cache", True),
        ("dvc exp run -S finetune.epochs=3 --temp", False),
        ("dvc exp run -Sfinetune.epochs=3", False),
        ("dvc exp run -nfirst", False),
        ("dvc exp run -f -S judge.seed=4", True),
    ],
)
def test_the_command_line_tells_whether_stages_run_whatever_is_there(command, asks):
    assert run_cache._asks(command.split()) is asks


@pytest.mark.parametrize(
    ("options", "asks"),
    [
        ({"kwargs": {"force": False, "run_env": {"DVC_EXP_NAME": "a"}}}, False),
        ({"kwargs": {"force": True}}, True),
        ({"kwargs": {"force_downstream": True}}, True),
        ({"kwargs": {"targets": ["judge"], "force": True, "run_env": {"DVC_EXP_NAME": "a"}}}, True),
        (b"not a pickle", True),
        (None, True),
    ],
)
def test_the_options_of_a_queued_experiment_are_those_that_dvc_keeps(tmp_path, monkeypatch, options, asks):
    """DVC keeps them in the commit that it checks out, from where they are gone when a stage runs."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    if options is not None:
        (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
        (tmp_path / ".dvc" / "tmp" / "repro.dat").write_bytes(
            options if isinstance(options, bytes) else packed(options)
        )
        git("add", "-f", "-A")
        git("commit", "-q", "-m", "stash")
        git("update-ref", "refs/exps/exec/EXEC_MERGE", "HEAD")

    assert run_cache._packed_asks() is asks
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as a hook around us would
    assert run_cache._packed_asks() is asks


def packed(options: dict[str, Any]) -> bytes:
    """As DVC packs them, which is in a process of its own: this project neither reads nor writes such files."""
    code = f"import pickle, sys; sys.stdout.buffer.write(pickle.dumps({options!r}))"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout


def git(*arguments: str) -> None:
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *author, *arguments], check=True, capture_output=True)


#: A stage whose result is another one each time, as a training's is on each machine.
STAGE = """\
import os
from pathlib import Path
from stages.running import program

def main():
    Path("out").mkdir()
    Path("out/model").write_bytes(os.urandom(8))
    Path("metrics.json").write_text("{}")

program.run("train", main)
"""
PIPELINE = """\
stages:
  train:
    cmd: python train.py
    deps: [data, train.py]
    params: [split.seed]
    outs: [out]
    metrics: [metrics.json]
"""


class Project:
    """A project with one stage, and DVC in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "data" / "deep").mkdir(parents=True)
        (root / "data" / "deep" / "b.txt").write_text("b")
        (root / "data" / "a.txt").write_text("a")
        (root / "train.py").write_text(STAGE)
        (root / "dvc.yaml").write_text(PIPELINE)
        shutil.copy(ROOT / "params.yaml", root)
        self.dvc("init", "--no-scm", "-q")

    def dvc(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def model(self) -> bytes:
        return (self.root / "out" / "model").read_bytes()

    def lock(self) -> Any:
        return YAML(typ="safe").load(self.root / "dvc.lock")["stages"]["train"]

    def from_another_machine(self) -> None:
        """As in a fresh clone: dvc.lock names these inputs, and outputs that this machine never had."""
        tree = YAML(typ="safe").load(self.root / "dvc.lock")
        for out in tree["stages"]["train"]["outs"]:
            out["md5"] = "0" * 8 + out["md5"][8:]
        with open(self.root / "dvc.lock", "w") as stream:
            YAML().dump(tree, stream)
        shutil.rmtree(self.root / "out", ignore_errors=True)
        (self.root / "metrics.json").unlink(missing_ok=True)


@pytest.mark.slow
def test_a_result_of_this_machine_is_taken_though_dvc_lock_names_another_machines(tmp_path):
    project = Project(tmp_path / "project")
    project.dvc("repro")
    made, recorded = project.model(), project.lock()

    project.from_another_machine()
    said = project.dvc("repro")

    assert "Stage 'train' is cached - skipping run: it has run with the same inputs on this machine" in said
    assert project.model() == made
    assert project.lock() == recorded

    for option in ("--force", "--no-run-cache"):
        project.from_another_machine()
        assert "is cached" not in project.dvc("repro", option)
        assert project.model() != made

    (project.root / "data" / "deep" / "b.txt").write_text("c")
    project.from_another_machine()
    assert "is cached" not in project.dvc("repro"), "another input"


@pytest.mark.slow
def test_a_file_of_the_cache_that_was_edited_is_not_taken(tmp_path):
    project = Project(tmp_path / "project")
    project.dvc("repro")
    made = project.model()
    (folder,) = (out["md5"] for out in project.lock()["outs"] if out["path"] == "out")
    listed = (project.root / ".dvc" / "cache" / "files" / "md5" / folder[:2] / folder[2:]).read_text()
    digest = listed.partition('"md5": "')[2][:32]
    stored = project.root / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
    stored.chmod(0o644)
    stored.write_bytes(b"edited")

    project.from_another_machine()

    assert "is cached" not in project.dvc("repro")
    assert project.model() not in (made, b"edited")
