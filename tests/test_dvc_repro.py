"""`dvc repro` on a copy of the repository as it stands: everything from nothing, then only what changed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.common import paths
from stages.common.results.finetune import TUNED_MODEL
from stages.running.tracking import tracker
from tests import clone, small_pipeline

STAGES = ("download", "split", "tokenize", "finetune", "generate", "judge")


def repro(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return clone.dvc(folder, "repro", *arguments)


def stages_run(output: str) -> list[str]:
    return [stage for stage in STAGES if f"Running stage '{stage}'" in output]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = clone.make(tmp_path_factory.mktemp("clone") / "repository")
    done = repro(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert stages_run(done.stdout) == list(STAGES)
    return folder


def test_a_second_run_finds_nothing_to_do(finished):
    done = repro(finished)

    assert done.returncode == 0
    assert stages_run(done.stdout) == []
    assert "up to date" in done.stdout


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("overlay", "expected"),
    [
        ({"judge": {"bootstrap_resamples": 101}}, ["judge"]),
        ({"judge": {"bootstrap_resamples": 100}, "generate": {"max_new_tokens": 5}}, ["generate", "judge"]),
    ],
)
def test_a_changed_value_reruns_what_reads_it_and_what_follows(finished, overlay, expected):
    small_pipeline.write_params(finished, overlay)

    assert stages_run(repro(finished).stdout) == expected


@pytest.mark.thorough
def test_an_unknown_section_is_refused_by_every_program_of_ours_and_dvc_alone_does_not_see_it(finished):
    """As docs/troubleshooting.md says: where nothing is to run, DVC starts no program that could refuse it."""
    params = finished / "params.yaml"
    before = params.read_text()
    params.write_text(before + "fintune:\n  epochs: 3\n")
    told = "fintune: unknown key; did you mean finetune?"
    try:
        idle, forced = repro(finished, "split"), repro(finished, "--force", "--single-item", "split")
        command = [sys.executable, "-m", "stages.running.summary"]
        summary = subprocess.run(command, cwd=finished, capture_output=True, text=True, check=False)
    finally:
        params.write_text(before)
    assert (idle.returncode, stages_run(idle.stdout)) == (0, [])
    assert forced.returncode != 0
    assert "exited with 78" in forced.stderr
    assert (told in forced.stdout + forced.stderr, summary.returncode, told in summary.stderr) == (True, 78, True)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "artifacts").rglob("*"))
        if path.is_file()
    }


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("stage", "wrong", "right", "code"),
    [
        (
            "judge",
            {"judge": {"rubric": "nonesuch", "backend": "ollama"}},
            {"judge": {"rubric": "graded-v1", "backend": "reference"}},
            78,
        ),
        ("finetune", {"finetune": {"batch_size": 20000}}, {"finetune": {"batch_size": 4}}, 78),
        (
            "download",
            {"download": {"data": {"sha256": "0" * 63 + "a"}}},
            {"download": {"data": {"sha256": None}}},
            65,
        ),
    ],
)
def test_a_mistake_is_told_with_its_exit_code_and_leaves_earlier_results(finished, stage, wrong, right, code):
    lock, before = (finished / "dvc.lock").read_bytes(), digests(finished)
    small_pipeline.write_params(finished, wrong)

    failed = repro(finished)
    after = digests(finished)
    small_pipeline.write_params(finished, right)
    repaired = repro(finished)

    assert f"exited with {code}" in failed.stderr
    assert f"the results of the last {stage} that succeeded are back in place" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert after == before
    assert (finished / "dvc.lock").read_bytes() == lock
    assert repaired.returncode == 0
    assert stages_run(repaired.stdout) == []


@pytest.mark.slow
def test_two_clones_give_the_same_dvc_lock(tmp_path):
    locks = []
    for name in ("one", "two"):
        folder = clone.make(tmp_path / name)
        done = repro(folder)
        assert done.returncode == 0, done.stderr
        locks.append((folder / "dvc.lock").read_text())

    assert locks[0] == locks[1]


@pytest.mark.slow
def test_the_model_of_a_run_answers_at_the_terminal(finished, monkeypatch):
    """From MLflow's sqlite store over the run's dvc.lock to DVC's cache: nothing of the working tree is needed."""
    monkeypatch.chdir(finished)
    run_id = tracker.create_run(finished, tags={})
    assert run_id is not None
    tracker.publish(finished, run_id, ran=set(STAGES))
    tracker.end(run_id, "FINISHED")
    model = finished / TUNED_MODEL
    listed = {path.name: path.read_bytes() for path in model.iterdir()}

    def ask(name: str) -> str:
        command = [sys.executable, "-m", "flows.chat", "--model", name, "--max-new-tokens", "8"]
        said = "Name a colour.\n/input red, blue\nWhich of them is warm?\n"
        done = subprocess.run(
            command, cwd=finished, env=os.environ, input=said, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    expected = ask(str(model))
    moved = model.rename(model.with_name("away"))
    try:
        assert ask(run_id) == expected
    finally:
        moved.rename(model)
    (linked,) = (finished / paths.CACHE / "chat").iterdir()
    assert {path.name: path.read_bytes() for path in linked.iterdir()} == listed
    assert len(expected.splitlines()) == 2
