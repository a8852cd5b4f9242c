"""What the documentation says to type, typed: in a copy of the repository, with a pipeline small enough for a test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.grading import answers, kept, sample
from tests import small_pipeline
from tests.docs import pages, summaries
from tests.root import ROOT

pytestmark = pytest.mark.slow

#: The pages whose blocks are run, after those of the README. Each begins with the first run committed.
WALKED = sorted({block.page for block in pages.all_blocks() if block.needs is None} - {"README.md"})

#: The files that a page's commands leave changed, where they do: the profile that is put back is not the small one.
LEFT = {"docs/gpt2-medium.md": ["params.yaml"]}
#: The values of the clone. An example of docs/your-data.md has ten warmup steps, and needs some more after them.
VALUES = small_pipeline.SMALL | {"finetune": small_pipeline.SMALL["finetune"] | {"max_steps": 12}}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A newcomer's clone, in which the README's commands have been run: the first run is done and committed."""
    folder = tmp_path_factory.mktemp("clone") / "repository"
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    small_pipeline.write_params(folder, VALUES)
    _environment(folder / ".venv")
    git = ["git", "-c", "init.defaultBranch=main"]
    for arguments in (
        ["init", "-q"],
        ["config", "user.name", "A Newcomer"],
        ["config", "user.email", "newcomer@example.org"],
        ["add", "-A"],
        ["commit", "-q", "-m", "clone"],
    ):
        subprocess.run([*git, *arguments], cwd=folder, check=True)
    for block in pages.blocks("README.md"):
        if block.needs is None:
            type_in(folder, block)
    return folder


def _environment(venv: Path) -> None:
    """What `make setup` makes, with this interpreter and its packages behind it."""
    (venv / "bin").mkdir(parents=True)
    for name, command in (("python", ""), ("dvc", "-m dvc")):
        program = venv / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
        program.chmod(0o755)
    (venv / "bin" / "activate").write_text(f'export PATH="{venv / "bin"}:$PATH"\n')
    for name in ("installed", "installed-dev"):
        (venv / name).touch()


def type_in(folder: Path, block: pages.Block) -> str:
    """Run a block in a shell of its own, in the project's environment, and return what it prints.

    It stops at the first command that fails, also within a pipe.
    """
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.body],
        cwd=folder,
        env=os.environ | {"PATH": f"{folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, f"{block.page}, line {block.line}:\n{block.body}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def changed(folder: Path) -> list[str]:
    """The files that differ from the last commit."""
    done = subprocess.run(["git", "status", "--short"], cwd=folder, check=True, capture_output=True, text=True)
    return [line[3:] for line in done.stdout.splitlines()]


@pytest.fixture
def committed(clone: Path) -> Path:
    """The clone as the first run left it."""
    subprocess.run(["git", "reset", "-q", "--hard"], cwd=clone, check=True)
    subprocess.run([clone / ".venv" / "bin" / "dvc", "checkout", "-q", "--force"], cwd=clone, check=True)
    return clone


def test_the_first_run_is_committed(clone):
    assert changed(clone) == []
    assert (clone / "artifacts" / "finetune" / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize("page", WALKED)
def test_a_page_s_commands_run_and_what_they_change_is_undone(committed, page):
    for block in pages.blocks(page):
        if block.needs is None:
            type_in(committed, block)

    assert changed(committed) == LEFT.get(page, [])


def test_the_summary_has_the_labels_that_the_documentation_explains(committed):
    (block,) = pages.blocks("docs/summary.md")
    printed = summaries.labels(type_in(committed, block))

    assert printed >= summaries.labels(summaries.sample("README.md"))
    assert printed <= summaries.explained() | {"categories"}


def test_an_experiment_changes_params_yaml_and_is_undone(committed):
    activate, run, look, undo, *_ = [block for block in pages.blocks("docs/first-experiment.md") if block.needs is None]
    verdicts = (committed / "artifacts" / "judge" / "verdicts.jsonl").read_bytes()

    assert type_in(committed, activate) == ""
    assert "finetune" in type_in(committed, run)
    assert "params.yaml" in changed(committed)
    assert "learning_rate: 0.002" in (committed / "params.yaml").read_text()
    type_in(committed, look)
    assert "up to date" in type_in(committed, undo)
    assert changed(committed) == []
    assert (committed / "artifacts" / "judge" / "verdicts.jsonl").read_bytes() == verdicts


def test_a_run_with_other_values_leaves_the_folder_as_it_is(committed):
    *_, block = [block for block in pages.blocks("docs/first-experiment.md") if block.needs is None]
    lock = (committed / "dvc.lock").read_bytes()

    assert "python -m flows.run --set" in block.body
    type_in(committed, block)
    assert changed(committed) == []
    assert (committed / "dvc.lock").read_bytes() == lock


def test_grades_become_a_calibrated_mean(committed):
    """The walk of docs/judge.md; what a person does in its middle is done as the terminal does it."""
    walk = {block.needs: block for block in pages.blocks("docs/judge.md")}
    assert "in the review queue" in type_in(committed, walk[None])
    items = answers.of_run(committed, answers.HERE)
    digest = answers.digest(items)
    chosen = sample.drawn(items, 50, seed=digest)
    kept.write(kept.path(committed, digest), {item.key: 100.0 * (number % 2) for number, item in enumerate(chosen)})
    assert "terminal: " in type_in(committed, walk["judgement"])
    found = json.loads((committed / "artifacts" / "judge" / "metrics.json").read_text())["calibration"]
    assert found["means"]["tuned"]["graded"]["n"] >= 30
    assert found["means"]["tuned"]["interval"]["low"] is not None
    assert found["difference"]["interval"]["low"] is not None
    assert set(changed(committed)) == {"dvc.lock", "grades/", "params.yaml"}
    shutil.rmtree(committed / "grades")
