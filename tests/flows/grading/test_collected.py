"""The file of labels, and its name in params.yaml."""

import json

import pytest

from flows.grading import answers, collected
from flows.profiles import to_text
from stages.common.errors import DataError
from stages.common.files import sha256
from stages.params import reading, whole
from tests.flows.grading.made import fill


def graded(root, count):
    """The answers, and a grade of 70 for the first ones, of which the first has two."""
    items = answers.of_run(root, answers.HERE)
    grades = {item.key: [70.0] for item in items[:count]}
    return items, grades | {items[0].key: [90.0, 85.0]}


def test_the_file_and_params_yaml(tmp_path):
    fill(tmp_path, rows=12)
    before = (tmp_path / "params.yaml").read_text()
    written = collected.collect(tmp_path, "abc", *graded(tmp_path, 12), of_folder=True)
    assert written.file.as_posix() == "grades/abc.jsonl"
    lines = (tmp_path / written.file).read_text().splitlines()
    assert json.loads(lines[0]) == {"id": "r00", "model": "base", "answer": "0", "score": 87.5}
    assert json.loads(lines[1]) == {"id": "r00", "model": "tuned", "answer": "0", "score": 87.5}
    assert len(lines) == sum(written.counts.values()) == 14, "two answers are of both models"
    calibration = whole.load(tmp_path / "params.yaml").judge.calibration
    assert calibration is not None
    assert (calibration.source, calibration.sha256) == ("grades/abc.jsonl", sha256(tmp_path / written.file))
    after = (tmp_path / "params.yaml").read_text()
    assert [line for line in after.splitlines() if line.lstrip().startswith("#")] == [
        line for line in before.splitlines() if line.lstrip().startswith("#")
    ]
    assert to_text(reading.read_yaml(tmp_path / "params.yaml")) == after


def test_collecting_again_changes_nothing_and_keeps_labels_of_other_answers(tmp_path):
    fill(tmp_path, rows=12)
    first = collected.collect(tmp_path, "abc", *graded(tmp_path, 12), of_folder=True)
    assert collected.collect(tmp_path, "abc", *graded(tmp_path, 12), of_folder=True) == first
    with (tmp_path / first.file).open("a") as stream:
        stream.write('{"id": "other", "answer": "by hand", "score": 5.0}\n')
    again = collected.collect(tmp_path, "abc", *graded(tmp_path, 13), of_folder=True)
    text = (tmp_path / again.file).read_text()
    assert '"by hand"' in text
    assert len(text.splitlines()) == 14 + 1 + 1


def test_few_grades_change_nothing(tmp_path):
    fill(tmp_path, rows=12)
    before = (tmp_path / "params.yaml").read_text()
    with pytest.raises(DataError, match=r"^6 of the 10 human labels that judge.calibration takes"):
        collected.collect(tmp_path, "abc", *graded(tmp_path, 5), of_folder=True)
    assert not (tmp_path / "grades").exists()
    assert (tmp_path / "params.yaml").read_text() == before


def test_labels_of_another_run_are_written_and_not_named(tmp_path):
    fill(tmp_path, rows=12)
    before = (tmp_path / "params.yaml").read_bytes()
    written = collected.collect(tmp_path, "abc", *graded(tmp_path, 12), of_folder=False)
    assert not written.named
    assert len((tmp_path / written.file).read_text().splitlines()) == 14
    assert (tmp_path / "params.yaml").read_bytes() == before


def test_a_withdrawn_grade_is_no_label_any_more(tmp_path):
    """One of twelve graded answers is skipped afterwards; a label of no answer of this run stays."""
    fill(tmp_path, rows=12)
    items, grades = graded(tmp_path, 12)
    first = collected.collect(tmp_path, "abc", items, grades, of_folder=True)
    with (tmp_path / first.file).open("a") as stream:
        stream.write('{"id": "r03", "answer": "by hand", "score": 5.0}\n')
    withdrawn = items[3]
    del grades[withdrawn.key]
    again = collected.collect(tmp_path, "abc", items, grades, of_folder=True)
    rows = [json.loads(line) for line in (tmp_path / again.file).read_text().splitlines()]
    assert (withdrawn.id, withdrawn.answer) not in {(row["id"], row["answer"]) for row in rows}
    assert len(rows) == 14 - len(withdrawn.models) + 1
    assert ("r03", "by hand") in {(row["id"], row["answer"]) for row in rows}


def test_who_grades_in_the_queue_and_in_the_terminal_counts_once():
    found = collected.from_both({"a": [40.0, 60.0], "b": [10.0]}, {"a": 100.0, "c": 33.3})
    assert found == {"a": [40.0, 60.0], "b": [10.0], "c": [33.3]}
