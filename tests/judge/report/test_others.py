"""The report of a run elsewhere: the page that MLflow keeps, or one from the files in DVC's cache."""

from __future__ import annotations

import dataclasses
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from stages.common.errors import ConfigError
from stages.common.files import write_json
from stages.common.results.download import LEFT_OUT
from stages.common.results.finetune import HISTORY
from stages.common.results.split import Example
from stages.judge.report import facts, others
from stages.judge.report.page import page
from stages.judge.runs.places import Place
from stages.judge.runs.sources import Run
from stages.params.tokenize import Tokenize
from stages.prompts.styles import STYLES
from stages.running import digests, lock
from stages.running.tracking import lookup
from stages.tokenize.shown import chosen, explained
from tests import results
from tests.judge.report import a_run
from tests.tokenize.test_shown import Tokens


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Where a run is whose files are in DVC's cache of the working directory alone."""
    made = a_run.write(tmp_path / "made")
    left = {"count": 12, "rows": []}
    write_json(made / LEFT_OUT, {"rows_of_the_file": 1071, "rows_of_the_dataset": 1059, "left_out": left})
    a_run.lock(made)
    here = tmp_path / "here"
    for path in (made / "artifacts").rglob("*"):
        if path.is_file():
            digest = digests.md5(path)
            kept = here / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, kept)
    monkeypatch.chdir(here)
    return Place(lock=(made / lock.LOCK).read_text(), params=(made / "params.yaml").read_text())


def found(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    """Let every name mean the run at a place."""
    monkeypatch.setattr(others, "find_run", lambda name: Run(name, results.identity(), [], place=place))


def test_of_a_commit_the_page_is_made_from_the_files_in_the_cache(monkeypatch: pytest.MonkeyPatch, place: Place):
    found(monkeypatch, place)
    made = others.text_of("HEAD")

    assert "2 of 4 answers are right" in made
    assert "<code>python -m stages.judge.runs.compare RUN HEAD</code>" in made
    assert "RUN artifacts" not in made
    assert "profile quick · no commit" in made
    assert "12 of 1,071 rows were left out, which cannot be used: left_out.json names them." in made
    assert "Time and memory of the stages are not known here" in made
    assert "not known here; a run in MLflow keeps them as environment.json" in made
    assert platform.python_version() not in made, "this machine may be another one"


def test_a_file_that_is_nowhere_any_more_is_named(monkeypatch: pytest.MonkeyPatch, place: Place):
    found(monkeypatch, place)
    digest = lock.Recorded.of_text(place.lock).digests[HISTORY]
    Path(".dvc", "cache", "files", "md5", digest[:2], digest[2:]).unlink()

    assert "artifacts/finetune/history.jsonl is not there: dvc repro finetune" in others.text_of("HEAD")


def test_of_a_run_in_mlflow_it_is_the_page_that_is_kept_with_it(monkeypatch: pytest.MonkeyPatch, place: Place):
    def download(root: Path, name: str, files: Sequence[str], folder: Path, *, optional: Sequence[str]) -> list[Path]:
        assert (name, list(optional)) == ("1f", ["report.html"])
        (folder / "report.html").write_text("kept")
        return [folder / "report.html"]

    found(monkeypatch, Place(mlflow="1f", lock=place.lock, params=place.params))
    monkeypatch.setattr(lookup, "download", download)
    assert others.text_of("calm-otter") == "kept"
    monkeypatch.setattr(lookup, "download", lambda *_, **__: [])
    assert "2 of 4 answers are right" in others.text_of("calm-otter"), "it is of before there were reports"


def test_the_commands_of_a_page_that_is_kept_name_its_run_and_none_works_on_this_folder(
    monkeypatch: pytest.MonkeyPatch, place: Place, tmp_path: Path
):
    """The page was made in the folder of its results, with train rows and the tokens of some."""
    tokenizer, rows = Tokens(), [Example(id="a", category="b", instruction="c", input="", output="<code>")]
    style = STYLES["alpaca"]
    settings = Tokenize(prompt_style="alpaca", context_length=64, loss_on="response")
    labels = list(explained(chosen(rows, tokenizer, style, 64), tokenizer, settings))
    made = tmp_path / "made"
    own = page(dataclasses.replace(facts.read(made, repository=made), labels=labels))
    assert "compare RUN artifacts</code>" in own
    assert "stages.tokenize --show ROW" in own

    def download(root: Path, name: str, files: Sequence[str], folder: Path, *, optional: Sequence[str]) -> list[Path]:
        (folder / "report.html").write_text(own)
        return [folder / "report.html"]

    found(monkeypatch, Place(mlflow="1f", lock=place.lock, params=place.params))
    monkeypatch.setattr(lookup, "download", download)
    given = others.text_of("calm-otter")
    assert "<code>python -m stages.judge.runs.compare RUN calm-otter</code>" in given
    assert "context of 64 tokens.</p>" in given
    assert "RUN artifacts" not in given
    assert "--show ROW" not in given


def test_of_a_run_in_mlflow_without_a_page_the_environment_is_its_own(monkeypatch: pytest.MonkeyPatch, place: Place):
    def download(root: Path, name: str, files: Sequence[str], folder: Path, *, optional: Sequence[str]) -> list[Path]:
        if list(optional) != ["environment.json"]:
            return []
        kept = folder / "environment.json"
        kept.write_text('{"python": "3.0.1", "processor": "A chip", "packages": {"torch": "0.4.1"}}')
        return [kept]

    found(monkeypatch, Place(mlflow="1f", lock=place.lock, params=place.params))
    monkeypatch.setattr(lookup, "download", download)
    made = others.text_of("calm-otter")
    assert "3.0.1" in made
    assert "A chip" in made
    assert "torch 0.4.1, numpy absent" in made


def test_a_run_whose_values_are_not_known_is_refused(monkeypatch: pytest.MonkeyPatch, place: Place):
    found(monkeypatch, Place(lock=place.lock))

    with pytest.raises(ConfigError, match=r"no params\.yaml is kept with it"):
        others.text_of("HEAD")
