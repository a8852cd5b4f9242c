"""What a run comes from: its commit, and the run that it scores again."""

from __future__ import annotations

import subprocess
from pathlib import Path

from mlflow import MlflowClient

from stages.running.tracking import origins, tracker


def test_git_tags_name_the_commit_and_whether_anything_else_is_in_it(project: Path, client: MlflowClient) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        return subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    Path(".gitignore").write_text("/mlflow.db\n/mlruns/\n/artifacts/\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "x")
    commit = git("rev-parse", "HEAD")
    Path("dvc.lock").write_text("stages: {}\n")
    Path("params.yaml").write_text(Path("params.yaml").read_text() + "# more\n")
    clean = client.get_run(tracker.create_run(project))
    Path("dvc.yaml").write_text(Path("dvc.yaml").read_text() + "# more\n")
    dirty = client.get_run(tracker.create_run(project))
    assert clean.data.tags["git.commit"] == clean.data.tags["mlflow.source.git.commit"] == commit
    assert (clean.data.tags["git.dirty"], dirty.data.tags["git.dirty"]) == ("params", "true")
    assert clean.data.tags["differs"] == "nothing", "a comment is no value"
    assert clean.info.run_name.startswith("quick (")


def test_a_run_that_scores_another_again_names_that_one_and_has_its_commit(project: Path, client: MlflowClient) -> None:
    source = tracker.create_run(project, tags={"git.commit": "c0ffee", "git.dirty": "false"})
    tags = origins.rescoring_tags(project, source, "quick (calm-otter)")
    assert (tags["rescore.of"], tags["git.commit"]) == (source, "c0ffee")
    assert source in tags["rescore.page"]
    assert origins.rescoring_tags(project, source, "calm", "decaf")["git.commit"] == "decaf"
    elsewhere = origins.rescoring_tags(project, "", "a folder")
    assert "rescore.of" not in elsewhere
    assert "git.commit" not in elsewhere
