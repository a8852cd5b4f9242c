"""Ids, and the division into splits."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.errors import ConfigError
from stages.common.results.split import Example
from stages.download import dataset
from stages.params.split import Split
from stages.split import splits


def row(instruction: str, output: str = "o", input: str = "", category: str = "c") -> dataset.Row:
    return {"instruction": instruction, "input": input, "output": output, "category": category}


def rows(count: int) -> list[dataset.Row]:
    return [row(f"i{number}") for number in range(count)]


def choose(method: str = "order", train: float = 0.85, test: float = 0.1, seed: int = 123) -> Split:
    return Split.model_validate({"method": method, "seed": seed, "train": train, "test": test})


def ids(examples: list[Example]) -> list[str]:
    return [example.id for example in examples]


def test_an_id_is_the_start_of_a_sha256() -> None:
    # printf '["a","b","c"]' | sha256sum
    assert ids(splits.with_ids([row("a", "c", "b")])) == ["fa1844c2988a"]
    expected = hashlib.sha256('["Größe?","","3 m"]'.encode()).hexdigest()[:12]
    assert ids(splits.with_ids([row("Größe?", "3 m", category="any")])) == [expected]


def test_repeats_are_numbered_and_other_ids_do_not_depend_on_the_order() -> None:
    first = splits.with_ids([row("a"), row("b"), row("a"), row("a", category="other")])
    a, b = first[0].id, first[1].id
    assert ids(first) == [a, b, f"{a}-2", f"{a}-3"]
    assert ids(splits.with_ids([row("b"), row("a")])) == [b, a]
    assert ids(splits.with_ids([row("a", "x"), row("a", "o", "x")])) not in ([a, a], [b, b])


@pytest.mark.parametrize(("count", "sizes"), [(1100, (935, 110, 55)), (20, (17, 2, 1)), (11, (9, 1, 1))])
def test_sizes_are_the_books(count: int, sizes: tuple[int, int, int]) -> None:
    division = splits.divide(splits.with_ids(rows(count)), choose())
    assert tuple(map(len, division.values())) == sizes
    assert list(division) == ["train", "test", "val"]


def test_order_keeps_the_files_order() -> None:
    examples = splits.with_ids(rows(40))
    division = splits.divide(examples, choose())
    assert division["train"] + division["test"] + division["val"] == examples


def test_shuffle_follows_its_seed_alone() -> None:
    examples = splits.with_ids(rows(40))
    division = splits.divide(examples, choose("shuffle"))
    assert division == splits.divide(examples, choose("shuffle"))
    assert division != splits.divide(examples, choose("shuffle", seed=124))
    assert division != splits.divide(examples, choose())


def test_shuffle_is_the_same_in_every_version_of_python() -> None:
    # random.Random(1): 0.134, 0.847, 0.764, 0.255, 0.495
    assert [e.instruction for e in splits.shuffled(splits.with_ids(rows(5)), 1)] == ["i0", "i3", "i4", "i2", "i1"]


@pytest.mark.parametrize(
    ("count", "train", "test", "said"),
    [
        (9, 0.85, 0.1, "make 7 train, 0 test, 2 val: test would be empty"),
        (3, 0.2, 0.1, "make 0 train, 0 test, 3 val: train and test would be empty"),
    ],
)
def test_a_split_without_rows(count: int, train: float, test: float, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{count} rows in shares of {train} train and {test} test {said}"):
        splits.divide(splits.with_ids(rows(count)), choose(train=train, test=test))


texts = st.sampled_from(["a", "b", "c"])  # few, so that rows repeat


@settings(deadline=None)
@given(
    st.lists(st.builds(row, texts, texts, texts, texts), max_size=60),
    st.sampled_from(["order", "shuffle"]),
    st.floats(0.05, 0.9),
    st.floats(0.01, 0.09),
    st.integers(0, 2**63 - 1),
)
def test_every_row_is_in_one_split(data: list[dataset.Row], method: str, train: float, test: float, seed: int) -> None:
    examples = splits.with_ids(data)
    assert len({example.id for example in examples}) == len(data)
    try:
        division = splits.divide(examples, choose(method, train, test, seed))
    except ConfigError:
        assert int(len(data) * train) == 0 or int(len(data) * test) == 0 or len(data) == 0
        return
    together = [example for part in division.values() for example in part]
    assert sorted(ids(together)) == sorted(ids(examples))
    assert len(division["train"]) == int(len(data) * train)
    assert len(division["test"]) == int(len(data) * test)
