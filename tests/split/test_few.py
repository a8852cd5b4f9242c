"""Too few test rows: from which number on, and what makes more of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from stages.common.results.split import Example
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


def proposed(examples: Sequence[Example], settings: Split) -> str:
    return few.more_test_rows(len(examples), settings, lambda one: splits.divide(examples, one)["test"])


def different(total: int) -> Sequence[Example]:
    """Rows with an instruction each."""
    return splits.with_ids([row(f"Task {number}.") for number in range(total)])


@pytest.mark.parametrize(
    ("total", "train", "test"),
    # 0.92 + 0.05 = 0.97 is left for both: 0.97 - 0.2 is 0.75 in steps of 0.05.
    [(60, 0.75, 0.2), (100, 0.85, 0.1), (199, 0.85, 0.1), (40, 0.7, 0.25), (34, 0.65, 0.3)],
)
def test_the_shares_that_are_proposed_make_ten_test_rows(total: int, train: float, test: float) -> None:
    examples = different(total)
    assert proposed(examples, quick()) == (
        f"set split.train: {train}, split.test: {test} in params.yaml or Prefect's form, or --set split.train={train} "
        f"--set split.test={test}; or add rows with other instructions: of 200 in all, 10 are test rows"
    )
    division = splits.divide(examples, quick(train=train, test=test))
    assert few.instructions(division["test"]) >= 10
    assert len(division["val"]) >= 1


def test_rows_that_repeat_an_instruction_need_a_larger_share() -> None:
    """Each instruction stands in two rows that follow one another. Of 60 rows 0.2 are 12 test rows, of 6 or 7
    instructions, and 0.3 are 18, from an odd row on: 10 instructions."""
    twice = splits.with_ids([row(f"Task {number // 2}.", str(number)) for number in range(60)])
    assert proposed(twice, quick()).startswith(
        "set split.train: 0.65, split.test: 0.3 in params.yaml or Prefect's form, or --set "
    )
    four_times = splits.with_ids([row(f"Task {number // 4}.", str(number)) for number in range(60)])
    assert proposed(four_times, quick()) == "add rows with other instructions: of 200 in all, 10 are test rows"


def test_the_train_share_may_be_no_smaller_than_the_test_share() -> None:
    assert proposed(different(34), quick(train=0.5, test=0.1)).startswith("set split.train: 0.3, split.test: 0.3 in ")
    more = "add rows with other instructions: of 100 in all, 10 are test rows"
    assert proposed(different(34), quick(train=0.45, test=0.1)) == more


def test_where_no_share_helps_rows_are_to_be_added() -> None:
    more = "add rows with other instructions: of 200 in all, 10 are test rows"
    assert few.more_test_rows(0, quick(), lambda _: []) == more
    assert proposed(different(33), quick()) == more
    assert proposed(different(60), quick(method="predefined")) == (
        "name test rows of 10 instructions or more in the file"
    )


def test_a_line_is_told_of_few_test_rows_alone() -> None:
    settings = quick(train=0.7, test=0.2)

    def told(examples: Sequence[Example]) -> list[str]:
        made = lambda one: splits.divide(examples, one)["test"]  # noqa: E731
        return list(few.told(splits.divide(examples, settings), settings, made))

    assert told(splits.with_ids(rows(50))) == []
    assert told(splits.with_ids([row("Add.", str(number)) for number in range(50)])) == [
        "10 test rows of 1 instruction: a score of fewer than 10 instructions has no interval; add rows with other "
        "instructions: of 50 in all, 10 are test rows"
    ]
