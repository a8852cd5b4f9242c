"""Answers that do not fit the test rows are named before anything is judged, and earlier results stay."""

import pytest

from stages.common.errors import DataError
from stages.common.records import write_records
from stages.common.results.generate import RESPONSES
from stages.common.results.judge import JUDGE_FOLDER
from stages.common.results.split import split_file
from stages.judge.__main__ import main
from tests.judge.test_stage import ANSWERS, EXAMPLES, configure, earlier_results, folder, outputs, respond  # noqa: F401 a fixture


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1:], "no answer: a (tuned)"),
        (lambda rows: [*rows, rows[2]], "more than one answer: c (tuned)"),
        (lambda rows: [*rows, rows[0].model_copy(update={"id": "z"})], "answers to no test row: z (tuned)"),
    ],
)
def test_answers_that_do_not_fit_the_rows_are_named_and_nothing_is_changed(folder, change, message):  # noqa: F811
    before = earlier_results()
    write_records(RESPONSES, change(respond(ANSWERS)))
    with pytest.raises(DataError) as caught:
        main()
    assert caught.value.what == f"{RESPONSES} does not fit artifacts/split/test.jsonl: {message}"
    assert outputs() == before


def test_answers_of_no_model_are_said(folder):  # noqa: F811
    write_records(RESPONSES, [])
    with pytest.raises(DataError) as caught:
        main()
    assert caught.value.what == f"{RESPONSES}: no answer by the model tuned"
    assert not JUDGE_FOLDER.exists()


def test_a_comparison_needs_the_answers_of_both_models(folder):  # noqa: F811
    write_records(RESPONSES, respond({key: answer for key, answer in ANSWERS.items() if key[1] == "tuned"}))
    configure(mode="pairwise")
    with pytest.raises(DataError, match="no answer by the model base"):
        main()


def test_two_rows_with_one_id_are_named(folder):  # noqa: F811
    write_records(split_file("test"), [*EXAMPLES, EXAMPLES[0]])
    with pytest.raises(DataError, match="more than one row: a") as caught:
        main()
    assert caught.value.fix == "dvc repro --force split"
