"""The census of a division, against counts by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.results.split import SPLITS
from stages.download import dataset
from stages.download.formats.hard import ANSWER_HEADINGS
from stages.prompts.styles import STYLES
from stages.split import splits
from stages.split.census import describe, take_census
from tests.root import ROOT
from tests.split.test_splits import choose, ids, row, texts

BOOK = ROOT / "../shared/data/instruction-data.json"


def test_census_by_hand() -> None:
    train = [row("a", "x"), row("a", "x"), row("b", "yy", "in"), row("c", "z", category="d")]
    test = [row("a", "w"), row("b", "yy")]
    val = [row("b", "yy", "in"), row("e", "z")]
    examples = splits.with_ids(train + test + val)
    found = take_census({"train": examples[:4], "test": examples[4:6], "val": examples[6:]})
    assert found.model_dump(exclude_unset=True) == {
        "rows": {"all": 8, "train": 4, "test": 2, "val": 2},
        "repeated_rows": {"groups": 2, "rows_beyond_first": 2},
        "repeated_prompts": {"groups": 2, "rows_beyond_first": 3, "groups_with_different_outputs": 1},
        "prompts_also_in_train": {
            "test": {"count": 1, "ids": [examples[4].id]},
            "val": {"count": 1, "ids": [examples[6].id]},
        },
        "within_splits": {"train": 1, "test": 0, "val": 0},
        "characters": {
            "train": {
                "prompt": {"mean": 1.5, "median": 1.0, "longest": 3},
                "output": {"mean": 1.2, "median": 1.0, "longest": 2},
            },
            "test": {
                "prompt": {"mean": 1.0, "median": 1.0, "longest": 1},
                "output": {"mean": 1.5, "median": 1.5, "longest": 2},
            },
            "val": {
                "prompt": {"mean": 2.0, "median": 2.0, "longest": 3},
                "output": {"mean": 1.5, "median": 1.5, "longest": 2},
            },
        },
        "categories": {"c": {"train": 3, "test": 2, "val": 2}, "d": {"train": 1, "test": 0, "val": 0}},
    }


def test_categories_are_in_the_order_of_the_alphabet() -> None:
    examples = splits.with_ids([row("1", category="d"), row("2", category="c"), row("3", category="a")])
    found = take_census({"train": examples[:1], "test": examples[1:2], "val": examples[2:]})
    assert list(found.categories) == ["a", "c", "d"]
    assert found.categories["c"] == {"train": 0, "test": 1, "val": 0}


def test_the_books_dataset() -> None:
    if not BOOK.is_file():
        pytest.skip(f"no copy of the book's dataset at {BOOK.relative_to(ROOT)}")
    examples = splits.with_ids(dataset.read(BOOK, name="the book's", fix="").rows)
    found = take_census(splits.divide(examples, choose()))
    assert found.rows == {"all": 1100, "train": 935, "test": 110, "val": 55}
    assert found.repeated_rows.groups == 0
    assert found.repeated_prompts.groups == 20
    assert found.repeated_prompts.rows_beyond_first == 25
    assert found.prompts_also_in_train["test"].count == 2
    assert found.prompts_also_in_train["val"].count == 4


@given(st.lists(st.builds(row, texts, texts, texts, texts), min_size=3, max_size=60), st.data())
def test_the_census_of_any_division_adds_up(data: list[dataset.Row], drawn: st.DataObject) -> None:
    examples = splits.with_ids(data)
    first, second = sorted(drawn.draw(st.integers(0, len(examples))) for _ in range(2))
    division = dict(zip(SPLITS, (examples[:first], examples[first:second], examples[second:]), strict=True))
    if not all(division.values()):
        return

    found = take_census(division)

    assert found.rows == {"all": len(data)} | {name: len(part) for name, part in division.items()}
    for name, part in division.items():
        assert sum(counts[name] for counts in found.categories.values()) == len(part)
        assert found.within_splits[name] == len(part) - len({(one.instruction, one.input) for one in part})
    train = {(one.instruction, one.input) for one in division["train"]}
    for name, also in found.prompts_also_in_train.items():
        assert also.ids == ids([one for one in division[name] if (one.instruction, one.input) in train])
        assert also.count == len(also.ids)


def test_what_is_told_of_a_division() -> None:
    examples = splits.with_ids([row("a", "x"), row("a", "x"), row("a", "w"), row("b"), row("c"), row("d")])

    assert list(describe(take_census({"train": examples[:2], "test": examples[2:4], "val": examples[4:]}))) == [
        "6 rows: 2 train, 2 test, 2 val; categories: 1",
        "repeated: 1 prompt occurs more than once (2 rows beyond the first), 1 of them with different outputs; "
        "1 row repeats a whole row",
        "warning: 1 test row also occurs in train (ids in artifacts/split/metrics.json)",
    ]
    assert len(list(describe(take_census({"train": examples[3:4], "test": examples[4:5], "val": examples[5:]})))) == 1


def test_placeholders_and_merged_rows_are_counted() -> None:
    whole = [row("a", "x"), row("none", "nan is a float", "no input is given"), row("b", "y", "N/A is short")]
    empty = [
        row("c", "z", "<noinput>"),
        row("d", "N/A"),
        row("e", "z", "  "),
        row("f", "NaN\n"),
        row("g", "z", "No input"),
    ]
    merged = [row("h", "Done.\n\n### Response:\nToo."), row("i", "z", "<|user|> x <|assistant|>")]
    examples = splits.with_ids([*whole, *empty, *merged])

    found = take_census({"train": examples[:4], "test": examples[4:9], "val": examples[9:]})

    assert found.placeholders == {"train": [examples[3].id], "test": ids(examples[4:8])}
    assert found.template_markers == {"test": [examples[8].id], "val": [examples[9].id]}
    assert list(describe(found))[1:] == [
        "warning: 1 train row looks like a placeholder, not a text (ids in artifacts/split/metrics.json)",
        "warning: 4 test rows look like a placeholder, not a text (ids in artifacts/split/metrics.json)",
        "warning: 1 test row holds headings of a prompt, as a merged row does (ids in artifacts/split/metrics.json)",
        "warning: 1 val row holds headings of a prompt, as a merged row does (ids in artifacts/split/metrics.json)",
    ]


@pytest.mark.parametrize("style", STYLES.values(), ids=lambda style: style.name)
def test_the_heading_of_an_answer_is_known_of_every_prompt_style(style):
    last = style.without_input.strip().splitlines()[-1]
    assert any(last.startswith(heading) for heading in ANSWER_HEADINGS)
