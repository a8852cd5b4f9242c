"""Human labels of test answers: which count, what is refused, and what the stage makes of them."""

import hashlib
import json
from pathlib import Path

import pytest

from stages.common.errors import ConfigError, DataError
from stages.common.records import write_records
from stages.common.results.generate import RESPONSES
from stages.common.results.judge import JUDGE_FOLDER
from stages.common.results.split import Example, split_file
from stages.judge.__main__ import main
from stages.judge.scores.labels import HumanLabels, read
from stages.params.judge import Calibration
from tests.judge.test_stage import configure, folder, metrics, respond  # noqa: F401 a fixture


def test_lines_without_a_score_are_not_labelled_yet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [{"id": "a", "model": "tuned", "answer": "x", "score": score} for score in (None, 5.0)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    Path("labels.jsonl").write_text(text)

    [row] = read(Calibration(source="labels.jsonl", sha256=hashlib.sha256(text.encode()).hexdigest()))

    assert row.score == 5.0


def labels_file(rows, sha256=None):
    Path("labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"source": "labels.jsonl", "sha256": sha256 or hashlib.sha256(Path("labels.jsonl").read_bytes()).hexdigest()}


def twelve_answers():
    """Test rows r0 to r11, of which every second answer is wrong, and the stage's parameters; returns the answers."""
    rows = [Example(id=f"r{n}", instruction=f"Say {n}.", input="", output=str(n), category="x") for n in range(12)]
    write_records(split_file("test"), rows)
    answers = {row.id: row.output * (1 + n % 2) for n, row in enumerate(rows)}
    write_records(RESPONSES, respond({(id, "tuned"): answer for id, answer in answers.items()}))
    return answers


def label(answers):
    return [{"id": id, "answer": text, "score": 90.0 - 80 * (n % 2)} for n, (id, text) in enumerate(answers.items())]


def test_what_the_stage_makes_of_it(folder):  # noqa: F811
    source = labels_file(label(twelve_answers()))
    configure(models=["tuned"], calibration=source)
    main()
    found = metrics()["calibration"]
    assert (found["rows"], found["stale"], found["matched"], found["sha256"]) == (12, 0, 12, source["sha256"])
    assert found["means"]["tuned"]["calibrated"] == 50.0


def test_labels_of_an_earlier_run_s_answers_are_left_out(folder, capsys):  # noqa: F811
    """The ids are the same after another training; that two labels belong to other texts can be seen only by these.
    White space does not count. Ten labels would still fit, but are no random sample: there is no mean of them.
    """
    answers = twelve_answers()
    rows = label(answers | {"r0": f" {answers['r0']}\n"})
    rows[2:4] = [rows[2] | {"answer": "earlier", "score": 0.0}, rows[3] | {"answer": "earlier", "score": 100.0}]
    rows += [{"id": "r0", "answer": "earlier", "score": 0.0}, {"id": "none", "answer": "x", "score": 50.0}]
    configure(models=["tuned"], calibration=labels_file(rows))
    main()
    found = metrics()["calibration"]
    assert (found["rows"], found["stale"], found["matched"]) == (14, 3, 10)
    tuned = found["means"]["tuned"]
    why = "3 of 13 labels are of other answers: grade again: python -m flows.grade ."
    assert (tuned["calibrated"], tuned["interval"], tuned["weight"], tuned["stale"]) == (None, None, None, 3)
    assert tuned["graded"]["mean"] is None
    assert tuned["graded"]["interval"] == {"level": 0.95, "low": None, "high": None, "method": f"none: {why}"}
    told = capsys.readouterr().out
    assert "judge.calibration: 3 of 14 rows label other answers, and are left out" in told
    assert f"judge.calibration: the answers by tuned are not calibrated: {why}" in told


def test_two_trainings_and_one_file_of_labels(folder):  # noqa: F811
    """All of 24 rows are labelled. The second training leaves the twelve answers that are equal to their reference as
    they were, and makes the others worse: a mean of the labels that are left would be 90, and the truth is below 50.
    The base model gives its answers again, and keeps its mean; a difference of the two there is none.
    """
    rows = [Example(id=f"r{n}", instruction=f"Say {n}.", input="", output=str(n), category="x") for n in range(24)]
    write_records(split_file("test"), rows)
    base = {(row.id, "base"): f"{row.output} or so" for row in rows}
    first = {(row.id, "tuned"): row.output if n % 2 else f"{row.output}?" for n, row in enumerate(rows)}
    scored = [(key, text, 90.0 if text.isdecimal() else 60.0) for key, text in (base | first).items()]
    source = labels_file([{"id": id, "model": m, "answer": text, "score": s} for (id, m), text, s in scored])
    configure(models=["base", "tuned"], calibration=source)

    write_records(RESPONSES, respond(base | first))
    main()
    before = metrics()["calibration"]
    assert (before["stale"], before["means"]["tuned"]["graded"]["mean"]) == (0, 75.0)
    assert before["difference"]["mean"] is not None

    second = {key: text if text.isdecimal() else "dunno" for key, text in first.items()}
    write_records(RESPONSES, respond(base | second))
    main()
    after = metrics()["calibration"]
    assert (after["stale"], after["matched"]) == (12, 36)
    tuned = after["means"]["tuned"]
    assert (tuned["graded"]["n"], tuned["graded"]["mean"], tuned["calibrated"], tuned["interval"]) == (12, *[None] * 3)
    assert after["means"]["base"] == before["means"]["base"]
    assert "difference" not in after


@pytest.mark.parametrize("fitting", [0, 9])
def test_few_labels_that_fit_fail_nothing(folder, capsys, fitting):  # noqa: F811
    """Labels of rows that are not in the test set any more, as after another split, are no labels of other answers."""
    rows = label(twelve_answers())
    rows = rows[:fitting] + [one | {"id": f"gone-{one['id']}"} for one in rows[fitting:]]
    configure(models=["tuned"], calibration=labels_file(rows))
    main()
    found = metrics()["calibration"]
    assert (found["rows"], found["stale"], found["matched"]) == (12, 0, fitting)
    assert (found["means"]["tuned"]["graded"]["n"], found["means"]["tuned"]["calibrated"]) == (fitting, None)
    why = f"{fitting} of the 10 human labels a model that a mean takes"
    assert f"judge.calibration: the answers by tuned are not calibrated: {why}" in capsys.readouterr().out


def test_after_another_training_the_stage_tells_and_ends_well(folder, capsys):  # noqa: F811
    answers = twelve_answers()
    source = labels_file(label(answers))
    write_records(RESPONSES, respond({(id, "tuned"): f"Now {text}" for id, text in answers.items()}))
    configure(models=["tuned"], calibration=source)
    main()
    assert metrics()["calibration"]["means"]["tuned"]["calibrated"] is None
    assert "12 of 12 labels are of other answers: grade again: python -m flows.grade ." in capsys.readouterr().out


def row(id, score=1.0, **fields):
    return {"id": id, "answer": "x", "score": score} | fields


@pytest.mark.parametrize(
    ("rows", "sha256", "error", "message"),
    [
        ([], "0" * 64, DataError, r"judge.calibration.sha256: labels.jsonl has e3b0c4.*, params.yaml says 0000"),
        ([row("a", 101.0)], None, DataError, r"labels.jsonl, line 1: score: expected 100 or less; found 101.0"),
        ([{"id": "a", "score": 1.0}], None, DataError, r"line 1: answer: missing\n.*each line needs id, answer"),
        (
            [row("a"), row("a", 2.0, answer="x ")],
            None,
            DataError,
            r"labels.jsonl: more than one score for one answer to a \(tuned\)",
        ),
    ],
)
def test_a_wrong_file_is_said_before_anything_is_judged(folder, rows, sha256, error, message):  # noqa: F811
    configure(calibration=labels_file(rows, sha256))
    with pytest.raises(error, match=message):
        main()
    assert not JUDGE_FOLDER.exists()


def test_a_missing_file_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"judge.calibration.source: labels.jsonl: No such file or directory"):
        read(Calibration(source="labels.jsonl", sha256="0" * 64))


def test_ten_labels_are_enough_for_a_mean():
    labels = HumanLabels({}, sha256="", rows=10, stale={})
    assert labels.why_not("tuned", 10) is None
    assert labels.why_not("tuned", 9) == "9 of the 10 human labels a model that a mean takes"
