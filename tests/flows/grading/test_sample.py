"""The sample: every category in its share, all answers to a row, and every row nearly as likely as any other."""

import itertools
from collections import Counter
from dataclasses import replace

from flows.grading.answers import Item
from flows.grading.sample import drawn


def items(counts):
    """Rows of categories, of which each has an answer of each model."""
    rows = [f"{category}{number:03}" for category, count in counts.items() for number in range(count)]
    return [Item(row, row[0], "", "", "", model, (model,)) for row in rows for model in ("base", "tuned")]


def test_every_category_has_its_share_and_each_model_as_many():
    found = drawn(items({"a": 60, "b": 30, "c": 10}), 50, seed="x")
    assert len(found) == 100
    assert Counter(item.models for item in found) == {("base",): 50, ("tuned",): 50}
    shares = Counter(item.category for item in found)
    assert all(abs(shares[category] - count) <= 2 for category, count in {"a": 60, "b": 30, "c": 10}.items())


def test_the_answers_of_a_row_are_apart():
    """Side by side, two answers to one row would be compared, and not graded."""
    found = [item.id for item in drawn(items({"a": 50}), 50, seed="x")]
    assert sum(one == other for one, other in itertools.pairwise(found)) < 5
    assert found != sorted(found)


def test_a_larger_sample_has_the_smaller_one_in_it():
    every = items({"a": 60, "b": 30, "c": 10})
    few, more = ({item.key for item in drawn(every, rows, seed="x")} for rows in (20, 50))
    assert few < more
    assert drawn(every, 1000, seed="x") != every
    assert len(drawn(every, 1000, seed="x")) == len(every)


def test_the_same_seed_draws_the_same_and_every_row_is_as_likely():
    every = items({"a": 12, "b": 6, "c": 2})
    assert drawn(every, 5, seed="x") == drawn(every, 5, seed="x")
    times = Counter(item.id for seed in range(4000) for item in drawn(every, 5, seed=str(seed)))
    assert all(abs(count / 2 / 4000 - 0.25) < 0.04 for count in times.values())  # each of 20 rows in a draw of 5
    assert len(times) == 20


def test_a_verdict_that_is_missing_changes_the_sample_by_its_answer_alone():
    every = items({"a": 60, "b": 30, "c": 10})
    before = drawn(every, 50, seed="x")
    without = [replace(item, scored=item != before[0]) for item in every]
    assert [item.key for item in drawn(without, 50, seed="x")] == [item.key for item in before[1:]]
    open_row = [replace(item, scored=item.id != before[0].id) for item in every]
    after = drawn(open_row, 50, seed="x")
    assert len(after) == 100
    assert len({item.id for item in after} - {item.id for item in before}) == 1, "the next row takes its place"
