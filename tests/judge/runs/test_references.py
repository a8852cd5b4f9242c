"""The run just made beside the last commit's."""

from __future__ import annotations

import json
import re
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from stages.common.errors import ConfigError
from stages.common.records import write_metrics
from stages.common.results.judge import JUDGE_FOLDER, JUDGE_METRICS
from stages.judge.runs import references
from stages.judge.runs.references import with_references
from stages.params import reading, whole
from stages.running import beside
from stages.running.tracking import published
from tests import results
from tests.judge.runs.test_compare import JUDGE, commit, git, write
from tests.root import ROOT


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    git("init", "-q")
    commit([50] * 10)
    return tmp_path


def test_the_table_and_the_figure_last_as_long_as_the_block(repository: Path) -> None:
    write(JUDGE_FOLDER, [80, 70] * 5)
    with with_references(repository, repository, "calm-otter") as (found, *_):
        head = f"HEAD ({git('rev-parse', 'HEAD')[:7]})"
        assert found.text.startswith(f"A {head}\nB this run\nrows        10 scored in both")
        assert "result      B scores higher: this run; one training each" in found.text
        table, figure, text = found.files
        commit = git("rev-parse", "HEAD")[:7]
        again = f"python -m stages.judge.runs.compare {commit} calm-otter"
        assert text.read_text() == f"{found.text}\n\nagain       {again}\n"
        assert found.verdict.startswith(f"Compared with the last commit, {commit}: higher than there (+25.0 points, ")
        assert found.verdict.endswith(f"Again: `{again}`")
        written = json.loads(table.read_text())
        assert written["comparisons"][0]["difference"] == 25.0
        assert (written["a"]["name"], written["comparisons"][0]["b"]["name"]) == (head, "this run")
        assert str(repository) not in table.read_text()
        kept = beside.of(repository).found
        assert kept is not None, "the summary has it too"
        assert kept.difference == 25.0
        assert figure.read_bytes().startswith(b"\x89PNG")
        assert found.picture.startswith("\n![differences](data:image/png;base64,")
    assert not figure.exists()


def test_a_mistake_in_what_is_asked_ends_no_run(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where an option of the comparison has another name: the parser of a program would end the process."""
    write(JUDGE_FOLDER, [80, 70] * 5)
    monkeypatch.setattr(references, "REVISION", "--revision")
    with with_references(repository, repository, "calm-otter") as (found, *_):
        assert found.text.startswith("Nothing compared: unexpected: --revision")
        assert found.files == ()


def test_a_copy_of_a_commit_that_is_the_last_no_more_is_compared_with_it_and_not_with_the_one_that_is(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user commits while a run works in a copy: what is the last commit at its end was not when it began."""
    copy = tmp_path / "copy"
    git("clone", "-q", str(repository), str(copy))
    began = git("rev-parse", "HEAD")[:7]
    commit([60] * 10)
    write(copy / JUDGE_FOLDER, [80, 70] * 5)

    with with_references(repository, copy, "calm-otter") as (first, *others):
        words = f"{began}, which was the last commit when this run began"
        assert (first.words, first.of_commit, any(one.of_commit for one in others)) == (words, True, False)
        assert first.found is not None
        assert first.found.difference == 25.0
        assert f"Again: `python -m stages.judge.runs.compare {began} calm-otter`" in first.verdict
    kept = beside.of(copy).found
    assert kept is not None, "the page and the summary have it too"
    assert (kept.other, kept.difference) == (words, 25.0)


def test_a_comparison_whose_files_cannot_be_written_ends_no_run(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(JUDGE_FOLDER, [80] * 10)
    monkeypatch.setattr(tempfile, "tempdir", str(repository / "none"))

    with with_references(repository, repository, "calm-otter") as (found, *_):
        assert found.text.startswith("Nothing compared: ")
        assert str(repository / "none") in found.text


def test_a_run_without_scores_is_not_compared(repository: Path) -> None:
    with with_references(repository, repository, "calm-otter") as (found, *_):
        assert (found.text, found.files) == ("There are no scores to compare.", ())


def test_a_commit_without_results_is_said_and_fails_nothing(repository: Path) -> None:
    git("rm", "-q", "dvc.lock")
    git("commit", "-m", "nothing")
    write(JUDGE_FOLDER, [80])
    with with_references(repository, repository, "calm-otter") as (found, *_):
        assert found.text.startswith("Nothing compared: HEAD: no results of the stage judge in its dvc.lock")
        assert found.files == ()


def test_where_the_last_commit_is_of_another_machine_the_folder_s_results_stand_in(repository: Path) -> None:
    shutil.rmtree(repository / ".dvc" / "cache")
    write(JUDGE_FOLDER, [50] * 10)
    write(repository / "tree" / JUDGE_FOLDER, [80, 70] * 5)
    with with_references(repository, repository / "tree", "calm-otter") as (found, *_):
        assert "git commit -am 'My first run' makes the results here the baseline" in found.text
        stands_in = f"the results in the folder, in place of HEAD ({git('rev-parse', 'HEAD')[:7]})"
        assert f"A {stands_in}\nB this run\n" in found.text
        _, _, text = found.files
        assert "again" not in text.read_text(), "the folder has the results of another run later"
        assert found.verdict.startswith(f"Compared with {stands_in}: higher than there (+25.0 points")
        assert "Again" not in found.verdict


def test_to_compare_again_names_the_run_that_stood_in_for_the_commit(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(repository / ".dvc" / "cache")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # that it is there is known by a note
    write(JUDGE_FOLDER, [50] * 10)
    published.keep(repository, "1f", "epochs=3 (calm-moth)")
    write(repository / "tree" / JUDGE_FOLDER, [80, 70] * 5)
    with with_references(repository, repository / "tree", "calm-otter") as (found, *_):
        assert "A calm-moth of MLflow, in place of HEAD (" in found.text
        again = "python -m stages.judge.runs.compare calm-moth calm-otter"
        assert found.verdict.endswith(f". Again: `{again}`")
        assert found.files[2].read_text().endswith(f"\n\nagain       {again}\n")
        written = json.loads(found.files[0].read_text())["a"]
        assert written["runs"] == ["calm-moth"]


@pytest.fixture
def tracked(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A repository with scores of the values in params.yaml, and a client of its MLflow."""
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{repository / 'mlflow.db'}")
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    score([80, 70] * 5)
    return MlflowClient()


def score(scores: list[float]) -> None:
    write(JUDGE_FOLDER, scores)
    mean = sum(scores) / len(scores)
    write_metrics(JUDGE_METRICS, results.judge_metrics(JUDGE, results.model_scores(mean, scored=10, n=10)))


def locked(code: str) -> str:
    """A dvc.lock whose training has read a file of code with this MD5."""
    return json.dumps({"stages": {"finetune": {"cmd": "c", "deps": [{"path": "stages/gpt2/model.py", "md5": code}]}}})


def record(client: Any, name: str, status: str = "FINISHED", code: str = "c0de", **values: Any) -> str:
    """A run of MLflow with the scores in the folder, and with values other than those of params.yaml.

    Args:
        client: client of its store.
        name: its name.
        status: the state that it ended in.
        code: MD5 of its model's code; empty for a run that keeps no dvc.lock.
        values: values by key, with two underscores for a dot.
    """
    named = client.get_experiment_by_name("instruct-pipeline/quick")
    at = (
        named.experiment_id
        if named
        else client.create_experiment("instruct-pipeline/quick", artifact_location=(Path.cwd() / "kept").as_uri())
    )
    run_id = str(client.create_run(at, run_name=name, tags={"judge.fingerprint": JUDGE.fingerprint}).info.run_id)
    flat = reading.flatten(whole.load().model_dump()) | {key.replace("__", "."): one for key, one in values.items()}
    for key, value in flat.items():
        client.log_param(run_id, key, value if isinstance(value, str) else json.dumps(value))
    for path in JUDGE_FOLDER.iterdir():
        client.log_artifact(run_id, str(path), "judge")
    if code:
        client.log_text(run_id, locked(code), "dvc.lock")
    client.set_terminated(run_id, status)
    return run_id


@pytest.mark.thorough  # MLflow makes a database
def test_the_last_run_of_the_recipe_is_one_with_another_seed_and_nothing_else(repository: Path, tracked: Any) -> None:
    record(tracked, "quick (old-crow)")
    record(tracked, "finetune.seed=7 (wise-crow)", finetune__seed=7)
    record(tracked, "epochs=9 (other-recipe)", finetune__epochs=9)
    record(tracked, "quick (failed-moth)", status="FAILED")
    record(tracked, "quick (other-code)", code="0ther")
    record(tracked, "quick (unknown-code)", code="")
    score([90, 80] * 5)
    Path("dvc.lock").write_text(locked("c0de"))
    with with_references(repository, repository, "calm-otter") as found:
        assert [one.words.partition(",")[0] for one in found] == ["the last commit", "the last run of this recipe"]
        recipe = found[1]
        assert recipe.words.endswith("finetune.seed=7 (wise-crow)")
        assert recipe.text.startswith("A wise-crow\nB this run\n")
        assert [file.name for file in recipe.files] == [f"comparison-recipe.{end}" for end in ("json", "png", "txt")]
        assert recipe.verdict.endswith("Again: `python -m stages.judge.runs.compare wise-crow calm-otter`")
        assert recipe.found is not None
        assert recipe.found.difference == 10.0
        told = references.in_report(found)
    assert told.commit_tried
    alone = references.further(repository)
    assert alone == told.model_copy(update={"commit_tried": False}), "what is kept is not compared again"


@pytest.mark.thorough  # MLflow makes a database
def test_a_run_with_the_same_results_is_not_the_last_run_of_the_recipe(repository: Path, tracked: Any) -> None:
    record(tracked, "finetune.seed=7 (wise-crow)", finetune__seed=7)
    score([90, 80] * 5)
    Path("dvc.lock").write_text(locked("c0de"))
    same = record(tracked, "rubric=strict (twin-moth)", judge__rubric="strict")
    tracked.set_tag(same, published.TAG, published.digest(repository))
    found = references.last_of_recipe(repository, repository)
    assert found is not None
    assert found.words == "the last run of this recipe, finetune.seed=7 (wise-crow)"


@pytest.mark.thorough  # MLflow makes a database
def test_other_runs_are_worth_asking_for_where_mlflow_s_file_holds_a_finished_one(
    repository: Path, tracked: Any
) -> None:
    assert references.worth_asking(repository) == [references.last_commit], "there is no file"
    record(tracked, "quick (failed-moth)", status="FAILED")
    assert references.worth_asking(repository) == [references.last_commit]
    record(tracked, "quick (old-crow)")
    assert references.worth_asking(repository) == references.REFERENCES


def test_a_server_is_worth_asking(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert references.worth_asking(repository) == references.REFERENCES


@pytest.mark.thorough  # MLflow makes a database
def test_a_run_whose_code_is_not_known_is_said_to_have_these_values_alone(repository: Path, tracked: Any) -> None:
    record(tracked, "quick (unknown-crow)", code="")
    record(tracked, "quick (other-crow)", code="0ther")
    Path("dvc.lock").write_text(locked("c0de"))
    found = references.last_of_recipe(repository, repository)
    assert found is not None
    assert found.words == "the last run with these values, quick (unknown-crow)"


@pytest.mark.thorough  # MLflow is imported
def test_an_mlflow_that_does_not_answer_is_said_once(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    score([80, 70] * 5)
    with socket.create_server(("127.0.0.1", 0)) as server:  # it takes connections, and says nothing
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(references, "_SECONDS", 3.0)
        started = time.monotonic()
        with with_references(repository, repository, "calm-otter") as found:
            assert time.monotonic() - started < 20
            assert [one.words.partition(",")[0] for one in found] == ["the last commit", "other runs in MLflow"]
            assert re.fullmatch(r"not compared: MLflow at http://127\.0\.0\.1:\d+: no answer .*", found[1].text)
            assert (found[1].files, found[1].verdict) == ((), "")
            told = references.in_report(found)
            assert told.found == []
            assert told.missing[0].startswith("not compared with other runs in MLflow: MLflow at http://127.0.0.1:")


@pytest.mark.thorough  # MLflow makes a database
def test_the_program_puts_the_comparisons_into_the_run_of_these_results(
    repository: Path, tracked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = record(tracked, "quick (calm-otter)")
    tracked.set_tag(run_id, "mlflow.note.content", "Score 75.0 of 100\n\nCompared with an earlier commit: x")
    published.keep(repository, run_id, "quick (calm-otter)")
    monkeypatch.setattr(sys, "argv", ["references"])
    references.main()
    files = {file.path for file in tracked.list_artifacts(run_id, "judge")}
    assert {f"judge/comparison.{end}" for end in ("json", "png", "txt")} <= files
    score_line, *lines = tracked.get_run(run_id).data.tags["mlflow.note.content"].split("\n\n")
    assert score_line == "Score 75.0 of 100"
    assert len(lines) == 1, "a run is not compared with itself, and the earlier line is gone"
    assert lines[0].startswith("Compared with the last commit, ")


def test_the_program_says_what_to_do_where_mlflow_has_no_such_results(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score([80, 70] * 5)
    monkeypatch.setattr(sys, "argv", ["references"])
    with pytest.raises(ConfigError, match=r"(?s)does not have these results.*python -m flows\.publish"):
        references.main()


def test_a_reference_that_is_named_elsewhere_is_compared_too(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a champion: a function in the list is enough."""
    write(Path("champion"), [60] * 10)
    score([80, 70] * 5)
    champion = references.Reference("champion", "the champion, calm-otter", "comparison-champion", "calm-otter")
    monkeypatch.setattr(references, "REFERENCES", [lambda _root, _tree: champion])
    with with_references(repository, repository, "wise-crow") as (found,):
        assert found.verdict.startswith("Compared with the champion, calm-otter: higher than there (+15.0 points")
        assert found.files[1].name == "comparison-champion.png"
