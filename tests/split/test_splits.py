"""Ids, and the division into splits."""

from __future__ import annotations

import hashlib
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.errors import ConfigError, DataError
from stages.common.results.split import SPLITS, Example
from stages.download import dataset
from stages.params.split import Checks, Split
from stages.split import splits
from stages.split.checks import near


def row(instruction: str, output: str = "o", input: str = "", category: str = "c") -> dataset.Row:
    return {"instruction": instruction, "input": input, "output": output, "category": category}


def rows(count: int) -> list[dataset.Row]:
    return [row(f"i{number}") for number in range(count)]


def choose(method: str = "order", train: float = 0.85, test: float = 0.1, seed: int = 123) -> Split:
    values = {"method": method, "seed": seed, "train": train, "test": test, "checks": thresholds()}
    return Split.model_validate(values)


def thresholds(**given: int) -> dict[str, int | None]:
    """A section of thresholds; those that are not given allow any number."""
    return dict.fromkeys(Checks.model_fields) | given


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


@pytest.mark.parametrize(("train", "test"), [(0.6, 0.2), (0.5, 0.3)])
def test_stratified_splits_have_their_share_of_each_category(train: float, test: float) -> None:
    data = [row(f"i{number}", category="a" if number < 60 else "b" if number < 90 else "c") for number in range(100)]
    examples = splits.with_ids(data)

    division = splits.divide(examples, choose("stratified", train, test))

    # Of 60, 30 and 10 rows: exactly their shares, since these are whole numbers.
    for name, share in (("train", train), ("test", test), ("val", 1 - train - test)):
        found = [example.category for example in division[name]]
        assert [found.count(category) for category in "abc"] == [round(count * share) for count in (60, 30, 10)]
    assert ids(division["train"]) == [one.id for one in examples if one in division["train"]]  # in the file's order


@pytest.mark.parametrize("seed", [1, 2, 123])
def test_a_shuffled_row_is_in_one_split_alone(seed: int) -> None:
    examples = splits.with_ids(rows(40))
    division = splits.divide(examples, choose("shuffle", seed=seed))
    assert {name: len(part) for name, part in division.items()} == {"train": 34, "test": 4, "val": 2}
    assert sorted(ids([one for part in division.values() for one in part])) == sorted(ids(examples))


@pytest.mark.parametrize("seed", range(5))
def test_the_stratified_order_by_hand(seed: int) -> None:
    """Four rows are at 1/8, 3/8, 5/8 and 7/8 of the way, and a single one at 1/2."""
    assert splits.stratified(["a", "b", "a", "a", "a"], seed)[2] == 1


def test_rows_of_two_categories_at_one_place_are_in_their_shuffled_order() -> None:
    # random.Random(1) draws 0.134 and 0.847, random.Random(2) 0.956 and 0.948.
    assert splits.stratified(["a", "b"], seed=1) == [0, 1]
    assert splits.stratified(["a", "b"], seed=2) == [1, 0]


def test_groups_stay_together_and_a_group_that_has_no_room_is_in_train() -> None:
    data = [row("same", f"o{number}", f"in{number}") for number in range(5)] + rows(15)
    data[19] = row("I0!", "o")  # differs from i0 in case and punctuation alone
    examples = splits.with_ids(data)

    division = splits.divide(examples, choose("grouped", 0.6, 0.2), near.find(examples).near)

    assert {name: len(part) for name, part in division.items()} == {"train": 12, "test": 4, "val": 4}
    where = {one.id: name for name, part in division.items() for one in part}
    assert {where[one.id] for one in examples[:5]} == {"train"}
    assert where[examples[5].id] == where[examples[19].id]


def test_what_grouped_does_by_hand() -> None:
    # The seed draws 0.134, 0.847 and 0.764 for the groups 0, 3 and 4, so that they come as 0, 4, 3.
    assert splits.whole_groups([0, 0, 0, 3, 4], test=1, val=1, seed=1) == ["train", "train", "train", "val", "test"]
    one_instruction = splits.with_ids([row("a", input=str(number)) for number in range(8)])
    with pytest.raises(ConfigError, match=r"by split\.method grouped make 8 train, 0 test, 0 val: test and val"):
        splits.divide(one_instruction, choose("grouped", 0.5, 0.25), list(range(8)))


def test_where_a_row_goes_by_its_hash() -> None:
    # printf '[123,"a","b"]' | sha256sum begins with 23f5, which is 0.140 of the way.
    (example,) = splits.with_ids([row("a", "c", "b")])
    shares = [(0.2, 0.5), (0.1, 0.1), (0.05, 0.05)]
    assert [splits.hashed(example, choose("hashed", *share)) for share in shares] == ["train", "test", "val"]
    # printf '[123,"ä","b"]' | sha256sum begins with 367f, which is 0.213; in ASCII, as \u00e4, it would be 0.295.
    (example,) = splits.with_ids([row("ä", "c", "b")])
    assert splits.hashed(example, choose("hashed", 0.25, 0.5)) == "train"


def test_predefined_takes_the_split_from_the_category() -> None:
    given = ["train", "Validation", "test", "dev", "valid", " val "]
    examples = splits.with_ids([row(f"i{number}", category=name) for number, name in enumerate(given)])

    division = splits.divide(examples, choose("predefined"))

    assert {name: [one.instruction for one in part] for name, part in division.items()} == {
        "train": ["i0"],
        "test": ["i2"],
        "val": ["i1", "i3", "i4", "i5"],
    }
    with pytest.raises(ConfigError, match="make 1 train, 0 test, 1 val: test would be empty"):
        splits.divide(examples[:2], choose("predefined"))
    wrong = splits.with_ids([row("a", category="train"), row("b", category="sums")])
    with pytest.raises(DataError, match=r"expected train, test or val in every row, found 1 row with .*: row 2 'sums'"):
        splits.divide(wrong, choose("predefined"))
    named = ", ".join(f"row {number} 'x'" for number in (1, 2, 3, 4, 5))
    with pytest.raises(DataError, match=rf"found 7 rows with another: {named}\n"):
        splits.predefined(["x"] * 7)


@settings(deadline=None)
@given(
    st.lists(st.builds(row, texts, texts, texts, texts), max_size=60),
    st.sampled_from(["order", "shuffle", "stratified", "grouped", "hashed"]),
    st.floats(0.05, 0.9),
    st.floats(0.01, 0.09),
    st.integers(0, 2**63 - 1),
)
def test_every_method_is_disjoint_complete_and_deterministic(
    data: list[dataset.Row], method: str, train: float, test: float, seed: int
) -> None:
    examples, chosen = splits.with_ids(data), choose(method, train, test, seed)
    groups = near.find(examples).near
    try:
        division = splits.divide(examples, chosen, groups)
    except ConfigError:
        return
    assert list(division) == list(SPLITS)
    assert sorted(ids([one for part in division.values() for one in part])) == sorted(ids(examples))
    assert division == splits.divide(examples, chosen, groups)
    exact = [int(len(data) * train), int(len(data) * test)]
    exact.append(len(data) - sum(exact))
    sizes = [len(division[name]) for name in SPLITS]
    if method in ("order", "shuffle", "stratified"):
        assert sizes == exact
    if method == "grouped":
        assert sizes[1] <= exact[1]
        assert sizes[2] <= exact[2]


words_of_rows = st.sampled_from(["a", "A!", "b", "c", "the d", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"])


@settings(deadline=None)
@given(st.lists(st.builds(row, words_of_rows, texts, texts), min_size=5, max_size=60), st.integers(0, 2**63 - 1))
def test_no_group_is_divided(data: list[dataset.Row], seed: int) -> None:
    examples = splits.with_ids(data)
    groups = near.find(examples).near

    names = splits.whole_groups(splits.with_equal_instructions(examples, groups), 3, 3, seed)

    for keys in (groups, [one.instruction for one in examples]):
        assert len(set(zip(keys, names, strict=True))) == len(set(keys))
    assert names.count("test") <= 3
    assert names.count("val") <= 3


@given(st.lists(st.sampled_from("aaaaabbbc"), min_size=1, max_size=80), st.integers(0, 2**63 - 1), st.data())
def test_any_part_of_the_stratified_order_has_the_share_of_each_category(
    categories: list[str], seed: int, drawn: st.DataObject
) -> None:
    order = splits.stratified(categories, seed)
    end = drawn.draw(st.integers(0, len(order)))

    assert sorted(order) == list(range(len(categories)))
    kinds = set(categories)
    for category in kinds:
        found = sum(categories[number] == category for number in order[:end])
        share = categories.count(category) * end / len(order)
        assert abs(found - share) <= len(kinds)


@settings(deadline=None)
@given(
    st.lists(st.builds(row, st.text(max_size=5), texts, texts), min_size=3, max_size=40),
    st.lists(st.builds(row, st.text(max_size=5), texts, texts), max_size=40),
    st.randoms(use_true_random=False),
)
def test_a_hashed_row_keeps_its_split_when_rows_are_added_and_moved(
    data: list[dataset.Row], more: list[dataset.Row], random: Random
) -> None:
    def places(rows: list[dataset.Row]) -> dict[tuple[str, str], str]:
        return {(one.instruction, one.input): splits.hashed(one, choose("hashed")) for one in splits.with_ids(rows)}

    everything = [*data, *more]
    random.shuffle(everything)

    assert places(data).items() <= places(everything).items()
