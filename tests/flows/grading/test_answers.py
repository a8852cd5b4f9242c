"""The answers that can be graded: of a folder and of an MLflow run the same ones, and no name of a model in them."""

import re

import pytest
from mlflow import MlflowClient

from flows.grading import answers, sample
from stages.common.errors import ConfigError, DataError
from stages.common.files import write_jsonl
from stages.common.results.generate import RESPONSES
from stages.common.results.judge import VERDICTS
from stages.running.tracking import answers_table
from tests.flows.grading.made import fill
from tests.running.tracking.made import through_the_flow


def test_answers_that_both_models_gave_are_one_item(tmp_path):
    fill(tmp_path, rows=5)
    found = answers.of_run(tmp_path, answers.HERE)
    assert [(item.id, item.answer, item.models) for item in found] == [
        ("r00", "0", ("base", "tuned")),
        ("r01", "no", ("base",)),
        ("r01", "1", ("tuned",)),
        ("r02", "no", ("base",)),
        ("r02", "2", ("tuned",)),
        ("r03", "no", ("base",)),
        ("r03", "3", ("tuned",)),
        ("r04", "4", ("base", "tuned")),
    ]
    assert len({item.key for item in found}) == len(found)


def test_how_many_answers_are_told_with_their_rows(tmp_path):
    """Of five rows two have one answer of both models."""
    fill(tmp_path, rows=5)
    found = answers.of_run(tmp_path, answers.HERE)
    assert answers.in_words(found) == "8 answers to 5 rows (of both models; equal ones count once)"
    assert answers.in_words([item for item in found if item.models == ("tuned",)]) == "3 answers to 3 rows"


def test_the_key_is_of_the_text_and_the_digest_of_all(tmp_path):
    fill(tmp_path, rows=5)
    found = answers.of_run(tmp_path, answers.HERE)
    assert answers.digest(found) == answers.digest(found[::-1])
    assert answers.digest(found) != answers.digest(found[1:])


def test_answers_that_the_judge_leaves_open_are_left_out_of_the_sample_and_not_of_the_digest(tmp_path):
    fill(tmp_path, rows=5)
    before = answers.of_run(tmp_path, answers.HERE)
    assert all(item.scored for item in before), "nothing is judged yet"
    verdict = '{{"id": "{}", "model": "tuned", "status": "{}", "score": {}, "detail": ""}}\n'
    (tmp_path / VERDICTS).parent.mkdir(parents=True)
    (tmp_path / VERDICTS).write_text(verdict.format("r01", "scored", 60.0) + verdict.format("r02", "open", "null"))
    found = answers.of_run(tmp_path, answers.HERE)
    drawn = sample.drawn(found, 5, seed=answers.digest(found))
    assert [(item.id, item.models) for item in drawn] == [("r01", ("tuned",))]
    assert [item.key for item in found] == [item.key for item in before]
    assert answers.digest(found) == answers.digest(before)


def test_a_run_of_mlflow_has_the_answers_of_its_folder(project):
    run_id = through_the_flow(project, {"judge"})
    here = answers.of_run(project, answers.HERE)
    assert [item.answer for item in here] == ["a by base", "a by tuned", "b by base", "b by tuned"]
    assert [item.scored for item in here] == [True, True, False, False]
    assert answers.of_run(project, run_id) == here
    name = MlflowClient(f"sqlite:///{project}/mlflow.db").get_run(run_id).info.run_name
    assert answers.of_run(project, name[:4]) == here
    with pytest.raises(ConfigError, match=re.escape(f"x{name}: no such MLflow run; did you mean {name}?")):
        answers.of_run(project, f"x{name}")
    assert answers.is_of_folder(project, run_id, answers.digest(here))
    responses = project / RESPONSES
    responses.write_text(responses.read_text().replace("a by tuned", "after another training"))
    assert not answers.is_of_folder(project, run_id, answers.digest(here))
    assert answers.is_of_folder(project, answers.HERE, "any")
    responses.unlink()
    assert not answers.is_of_folder(project, run_id, answers.digest(here))


def test_a_run_of_more_rows_than_mlflow_s_table_holds_has_the_name_that_its_folder_has(tmp_path):
    fill(tmp_path, rows=answers_table.MOST_ROWS + 10)
    verdict = {"model": "tuned", "status": "scored", "score": 1.0, "detail": ""}
    write_jsonl(tmp_path / VERDICTS, [verdict | {"id": "r00"}])
    table = answers_table.made(tmp_path)
    assert table is not None
    of_mlflow = answers._of_table(answers_table.rows_of(answers_table.sample(table)))
    of_folder = answers.of_run(tmp_path, answers.HERE)
    assert (len({item.id for item in of_mlflow}), len({item.id for item in of_folder})) == (2000, 2010)
    assert answers.digest(of_mlflow) == answers.digest(of_folder)
    assert answers.is_of_folder(tmp_path, "a run", answers.digest(of_mlflow))
    text = (tmp_path / RESPONSES).read_text()
    (tmp_path / RESPONSES).write_text(text.replace('"no"', '"another training"'))
    assert not answers.is_of_folder(tmp_path, "a run", answers.digest(of_mlflow))


def test_what_is_no_run_is_said(tmp_path, project):
    with pytest.raises(ConfigError, match="nothing: no such MLflow run"):
        answers.of_run(project, "nothing")
    with pytest.raises(DataError, match=r"responses.jsonl") as caught:
        answers.of_run(tmp_path, answers.HERE)
    assert caught.value.fix == "dvc repro generate"
