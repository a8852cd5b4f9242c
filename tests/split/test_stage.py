"""Ids, the division into splits, and the census of it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.errors import ConfigError
from stages.common.results.split import Example
from stages.download import dataset
from stages.params.split import Split
from stages.split import splits
from stages.split.census import take_census
from tests.root import ROOT

BOOK = ROOT / "../shared/data/instruction-data.json"


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
    assert set(take_census(division).prompts_also_in_train["test"].ids) <= set(ids(division["test"]))


def test_census_by_hand() -> None:
    train = [row("a", "x"), row("a", "x"), row("b", "yy", "in"), row("c", "z", category="d")]
    test = [row("a", "w"), row("b", "yy")]
    val = [row("b", "yy", "in"), row("e", "z")]
    examples = splits.with_ids(train + test + val)
    found = take_census({"train": examples[:4], "test": examples[4:6], "val": examples[6:]})
    assert found.model_dump() == {
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


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stages.split"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "artifacts/download").mkdir(parents=True)
    return tmp_path


def test_the_program(project: Path) -> None:
    source = project / "artifacts/download/dataset.json"
    outputs = project / "artifacts/split"
    source.write_text(json.dumps([*rows(38), row("i0", "other"), row("i1")]))
    done = run(project)
    assert done.returncode == 0, done.stderr
    assert "40 rows: 34 train, 4 test, 2 val; categories: 1" in done.stdout
    assert "warning: 2 val rows also occur in train" in done.stdout
    first = {path.name: path.read_bytes() for path in outputs.iterdir()}
    assert set(first) == {"train.jsonl", "test.jsonl", "val.jsonl", "metrics.json"}
    assert [len(first[f"{name}.jsonl"].splitlines()) for name in ("train", "test", "val")] == [34, 4, 2]

    source.write_text(json.dumps(rows(3)))
    failed = run(project)
    assert failed.returncode == 78
    assert failed.stderr.startswith("split: 3 rows in shares of ")
    assert "Traceback" not in failed.stderr
    assert {path.name: path.read_bytes() for path in outputs.iterdir()} == first

    source.unlink()
    failed = run(project)
    assert failed.returncode == 65
    assert failed.stderr == ("split: artifacts/download/dataset.json: no such file\n  to fix it: dvc repro download\n")
