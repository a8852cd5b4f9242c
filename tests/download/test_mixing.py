"""A mix of several sources: how many rows each gives, which ones, and what every row says of its source."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.common.errors import ConfigError, PipelineError
from stages.download import mixing
from stages.params.download import DataSource, MixedSource, RowFilter
from tests.download.test_stage import Project


def source(name: str = "a", **values: Any) -> MixedSource:
    return MixedSource.model_validate({"source": f"data/{name}.json", **values})


@pytest.mark.parametrize(
    ("sizes", "sources", "expected"),
    [
        # Without weights and shares all rows.
        ((7, 5), [source("a"), source("b")], [7, 5]),
        ((7, 5), [source("a", cap=3), source("b", cap=9)], [3, 5]),
        # 1 to 3: of 90 rows at weight 3 come 30 at weight 1.
        ((100, 90), [source("a", weight=1.0), source("b", weight=3.0)], [30, 90]),
        ((10, 90), [source("a", weight=1.0), source("b", weight=3.0)], [10, 30]),
        ((100, 90), [source("a", weight=0.1), source("b", weight=0.3, cap=9)], [3, 9]),
        # A source without a weight gives all of its rows beside them.
        ((4, 10, 8), [source("a"), source("b", weight=2.0), source("c", weight=1.0)], [4, 10, 5]),
        # 5 of 100 rows are a share of 0.05, and 10 and 20 of 100 of 0.1 and 0.2.
        ((95, 50), [source("a"), source("b", share=0.05)], [95, 5]),
        ((70, 50, 50), [source("a"), source("b", share=0.1), source("c", share=0.2)], [70, 10, 20]),
    ],
)
def test_how_many_rows_each_source_gives(
    sizes: tuple[int, ...], sources: list[MixedSource], expected: list[int]
) -> None:
    assert mixing.taken(sizes, sources) == expected


@given(
    sizes=st.lists(st.integers(1, 500), min_size=2, max_size=4),
    weights=st.lists(st.floats(0.01, 100), min_size=4, max_size=4),
)
def test_weights_hold_but_for_less_than_a_row_and_the_scarcest_source_gives_all(
    sizes: list[int], weights: list[float]
) -> None:
    weights = weights[: len(sizes)]
    unit = min(size / weight for size, weight in zip(sizes, weights, strict=True))
    assume(all(unit * weight >= 1 for weight in weights))
    counts = mixing.taken(sizes, [source(str(at), weight=weight) for at, weight in enumerate(weights)])
    assert all(count <= size for count, size in zip(counts, sizes, strict=True))
    scarcest = min(range(len(sizes)), key=lambda at: sizes[at] / weights[at])
    assert counts[scarcest] == sizes[scarcest]
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count - sizes[scarcest] * weight / weights[scarcest]) < 1.001


def test_a_share_of_more_rows_than_there_are_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"sources: b: a share of 0\.5 of about 20 rows is 10 rows; found 9"
    ) as raised:
        mixing.taken([10, 9], [source("a"), source("b", share=0.5)])
    assert raised.value.fix == "lower share of b, or cap of the other sources, in params.yaml"
    with pytest.raises(ConfigError, match="sources: b: expected a row that its filter keeps; found none"):
        mixing.taken([10, 0], [source("a"), source("b")])


@pytest.mark.parametrize(
    ("sizes", "other", "key"),
    [([3, 1000], {"weight": 0.01}, "weight"), ([100, 50], {"share": 0.004}, "share")],
)
def test_a_source_that_would_give_no_row_is_refused(sizes: list[int], other: dict[str, float], key: str) -> None:
    first = source("a", weight=1) if key == "weight" else source("a")
    with pytest.raises(ConfigError, match=f"sources: b: its {key} comes to less than one row") as raised:
        mixing.taken(sizes, [first, source("b", **other)])
    assert raised.value.fix == f"raise {key} of b in params.yaml, or leave the source out"


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ({}, True),
        ({"categories": ["c", "x"]}, True),
        ({"categories": ["x"]}, False),
        ({"without": ["c"]}, False),
        ({"without": ["x"]}, True),
        ({"matching": "^Say"}, True),
        ({"matching": r"\d"}, False),
        ({"longest": 11}, True),  # "Say it." and "Four" have 11 characters
        ({"longest": 10}, False),
        ({"categories": ["c"], "matching": "Four$", "longest": 10}, False),
    ],
)
def test_a_filter_keeps_a_row_of_which_all_holds(wanted: dict[str, Any], kept: bool) -> None:
    row = {"instruction": "Say it.", "input": "", "output": "Four", "category": "c"}
    assert mixing.keeps(RowFilter.model_validate(wanted), row) is kept


def test_draws_depend_on_the_seed_and_the_name_alone() -> None:
    first = mixing.drawn(100, 10, 1, "a")
    assert first == sorted(set(first)) == mixing.drawn(100, 10, 1, "a")
    assert len({tuple(mixing.drawn(100, 10, seed, name)) for seed in (1, 2) for name in "ab"}) == 4
    assert mixing.drawn(3, 3, 1, "a") == [0, 1, 2]


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ([{"source": "a.json", "weight": 1.0, "share": 0.5}], "expected weight or share; found both"),
        ([{"source": "a.json"}, {"source": "b/a.jsonl"}], "expected another name for each; found 'a' twice: set name"),
        ([{"source": "a.json", "share": 0.5}], "expected one without a share"),
        ([{"source": n, "share": 0.5} for n in "ab"] + [{"source": "c"}], "expected shares below 1 together; found 1"),
        ([{"source": "a.json", "filter": {"matching": "("}}], "expected a regular expression; found '\\('"),
        ([{"source": "a.json", "weight": 0.0}], "greater than 0"),
        ([{"source": "a.json", "filter": {"categories": []}}], "at least 1 item"),
    ],
)
def test_sources_that_make_no_mix_are_refused(sources: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DataSource.model_validate({"source": "x", "sha256": None, "sources": sources})


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder with a list of 40 rows, a table of 30 in another form, and 20 off-topic rows."""
    project = Project(tmp_path)
    sums = [{"instruction": f"Add 1 and {n}.", "output": str(n + 1), "category": "sum"} for n in range(40)]
    (tmp_path / "data/sums.json").write_text(json.dumps(sums))
    table = "question,answer\n" + "".join(f"What is {n}?,A number\n" for n in range(30))
    (tmp_path / "data/talk.csv").write_text(table)
    off = [{"prompt": f"Tell me {n} secrets.", "completion": "I cannot."} for n in range(20)]
    (tmp_path / "off.jsonl").write_text("".join(json.dumps(row) + "\n" for row in off))
    return project


def sources_of(project: Project) -> list[dict[str, Any]]:
    digest = hashlib.sha256((project.folder / "off.jsonl").read_bytes()).hexdigest()
    return [
        {"source": "data/sums.json", "weight": 2.0, "filter": {"matching": r"[02468]\.$"}},  # 20 of 40
        {"source": "data/talk.csv", "weight": 1.0, "fields": {"instruction": "question", "output": "answer"}},
        {"source": "off.jsonl", "sha256": digest, "name": "off-topic", "share": 0.0625},  # 2 of 32
    ]


@pytest.mark.thorough
def test_a_mix_has_the_rows_of_its_sources_each_with_its_name(project: Project) -> None:
    project.tree["download"]["data"] = {"source": "x", "sha256": None, "sources": sources_of(project)}
    project.main()

    first = project.outputs()
    rows = json.loads(first["artifacts/download/dataset.json"])
    names = [row["source"] for row in rows]
    assert {name: names.count(name) for name in names} == {"sums": 20, "talk": 10, "off-topic": 2}
    assert names != sorted(names)
    assert all(row["instruction"][-2] in "02468" for row in rows if row["source"] == "sums")
    assert len({row["instruction"] for row in rows}) == 32
    report = json.loads(first["artifacts/download/left_out.json"])
    assert {name: one["rows_of_the_dataset"] for name, one in report["sources"].items()} == {
        "sums": 20,
        "talk": 10,
        "off-topic": 2,
    }
    assert report["sources"]["sums"]["rows_of_the_file"] == 40

    project.main()
    assert project.outputs() == first
    project.tree["download"]["data"]["mix_seed"] = 124
    project.main()
    assert project.outputs()["artifacts/download/dataset.json"] != first["artifacts/download/dataset.json"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha256": None}, "download.data.sources.2.sha256: needed for off.jsonl"),
        ({"sha256": None}, "to fix it: set download.data.sources.2.sha256 to "),
        ({"sha256": "0" * 64}, "set download.data.sources.2.sha256 in params.yaml to what was found"),
        ({"source": "nowhere.json"}, "set download.data.sources.2.source in params.yaml to a file that exists"),
        ({"fields": {"output": "completon"}}, "download.data.sources.2.fields: output: 'completon'"),
        ({"fields": {"output": "completon"}}, "to fix it: set download.data.sources.2.fields to {"),
    ],
)
def test_a_mistake_in_a_source_names_its_own_key(project: Project, change: dict[str, Any], said: str) -> None:
    sources = sources_of(project)
    sources[2] |= change
    project.tree["download"]["data"] = {"source": "x", "sha256": None, "sources": sources}
    with pytest.raises(PipelineError) as raised:
        project.main()
    assert said in str(raised.value), raised.value
    assert project.outputs() == {}


def test_all_sources_that_cannot_be_read_are_told_before_any_is_read(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [
        *sources_of(project)[:2],
        {"source": "nowhere.json", "sha256": "0" * 64},
        {"source": "off.jsonl", "sha256": "0" * 64},
        {"source": "data/none.json"},
    ]
    project.tree["download"]["data"] = {"source": "x", "sha256": None, "sources": sources}
    with pytest.raises(PipelineError) as raised:
        project.main()

    digest = hashlib.sha256((project.folder / "off.jsonl").read_bytes()).hexdigest()
    size = (project.folder / "off.jsonl").stat().st_size
    heading, gone, other, missing = raised.value.what.split("\n")
    assert heading == "download.data.sources: 3 of 5 sources cannot be read:"
    assert gone.startswith("  - ")
    assert gone.endswith("nowhere.json: no such file")
    assert other == f"  - off.jsonl: wrong SHA-256: expected {'0' * 64}, found {digest} ({size:,} bytes)"
    assert missing == "  - data/none.json: no such file"
    assert raised.value.exit_code == 78
    assert raised.value.fix is not None
    assert [word for word in raised.value.fix.split() if word.startswith("download.data.")] == [
        "download.data.sources.2.source",
        "download.data.sources.3.sha256",
        "download.data.sources.4.source",
    ]
    assert "sums" not in capsys.readouterr().out
    assert project.outputs() == {}
