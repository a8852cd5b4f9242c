"""Too few test rows: from which number on, and what makes more of them."""

from __future__ import annotations

from typing import Any

import pytest

from stages.judge.scores import bootstrap
from stages.params.split import Split
from stages.split import few, splits
from tests.split.test_splits import choose, row, rows


def test_the_fewest_instructions_are_those_of_an_interval() -> None:
    assert few.LEAST == bootstrap.LEAST


def test_rows_with_one_instruction_count_once() -> None:
    examples = splits.with_ids([row("Add.", "3", "1 2"), row("Add.", "5", "2 3"), row("Spell it.")])
    assert few.instructions(examples) == 2
    assert few.instructions(splits.with_ids(rows(50))) == 10


def quick(**values: Any) -> Split:
    """The section split of the profile quick."""
    return choose(train=0.92, test=0.05).model_copy(update=values)


@pytest.mark.parametrize(
    ("total", "train", "test"),
    # 0.92 + 0.05 = 0.97 is left for both: 0.97 - 0.2 is 0.75 in steps of 0.05.
    [(60, 0.75, 0.2), (100, 0.85, 0.1), (199, 0.85, 0.1), (40, 0.7, 0.25), (34, 0.65, 0.3)],
)
def test_the_shares_that_are_proposed_make_ten_test_rows(total: int, train: float, test: float) -> None:
    settings = quick()
    assert few.more_test_rows(total, settings) == (
        f"set split.train: {train} and split.test: {test} in params.yaml, or --set split.train={train} "
        f"--set split.test={test}; or add rows: with 200 there are 10 test rows"
    )
    division = splits.divide(splits.with_ids(rows(total)), quick(train=train, test=test))
    assert len(division["test"]) >= 10
    assert len(division["val"]) >= 1


def test_the_train_share_may_be_no_smaller_than_the_test_share() -> None:
    assert few.more_test_rows(34, quick(train=0.5, test=0.1)).startswith("set split.train: 0.3 and split.test: 0.3 in ")
    assert few.more_test_rows(34, quick(train=0.45, test=0.1)) == "add rows: with 100 there are 10 test rows"


def test_where_no_share_helps_rows_are_to_be_added() -> None:
    assert few.more_test_rows(0, quick()) == "add rows: with 200 there are 10 test rows"
    assert few.more_test_rows(33, quick()) == "add rows: with 200 there are 10 test rows"
    assert few.more_test_rows(60, quick(train=0.5, test=0.2)) == "add test rows with other instructions"
    assert few.more_test_rows(60, quick(method="predefined")) == "name 10 test rows or more in the file"


def test_a_line_is_told_of_few_test_rows_alone() -> None:
    settings = quick(train=0.7, test=0.2)
    division = splits.divide(splits.with_ids(rows(50)), settings)
    assert list(few.told(division, settings)) == []
    division = splits.divide(splits.with_ids([row("Add.", str(number)) for number in range(50)]), settings)
    assert list(few.told(division, settings)) == [
        "10 test rows of 1 instruction: a score of fewer than 10 instructions has no interval; add test rows with "
        "other instructions"
    ]
