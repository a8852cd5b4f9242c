"""A dataset's file on the hub, by repository, commit and path."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from stages.common.errors import ConfigError
from stages.download import hub_dataset
from stages.download.hub_dataset import HubFile
from tests.download.test_preflight import ask
from tests.download.test_stage import ROWS, Project
from tests.fake_hub import FakeHub, serving

COMMIT = "d" * 40
SOURCE = f"hf://datasets/owner/name@{COMMIT}/data/train.parquet"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A dataset's repository: its rows as Parquet and as a table in gzip, and code that nobody runs."""
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "served"
    (folder / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "data/train.parquet")
    table = "".join(f"{row['instruction']},{row['output']},say\n" for row in ROWS)
    (folder / "train.csv.gz").write_bytes(gzip.compress(f"instruction,output,category\n{table}".encode(), mtime=0))
    (folder / "name.py").write_text("raise SystemExit('code of a dataset was run')")
    return folder


def run(project: Project, hub: FakeHub, **variables: str) -> tuple[int, str]:
    environment = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": str(project.folder / "hub"), **variables}
    return project.run(**environment)


def rows_of(project: Project) -> object:
    return json.loads(project.outputs()["artifacts/download/dataset.json"])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (SOURCE, HubFile("owner/name", COMMIT, "data/train.parquet")),
        (f"hf://datasets/name@{COMMIT}/a.csv", HubFile("name", COMMIT, "a.csv")),
        ("hf://datasets/owner/name@main/a.csv", None),
        ("hf://datasets/owner/name/a.csv", None),
        (f"hf://datasets/owner/name@{COMMIT}/data/", HubFile("owner/name", COMMIT, "data/")),
        (f"hf://datasets/owner/name@{COMMIT}/data/*.json", HubFile("owner/name", COMMIT, "data/*.json")),
        (f"hf://datasets/owner/name@{COMMIT}", None),
        (f"hf://datasets/owner/name@{COMMIT}/", None),
        (f"hf://datasets/owner/name@{COMMIT}/../a.csv", None),
        (f"hf://owner/name@{COMMIT}/a.csv", None),
    ],
)
def test_the_form_of_a_source(source: str, expected: HubFile | None) -> None:
    assert hub_dataset.is_on_hub(source)
    if expected is not None:
        assert hub_dataset.parse(source) == expected
        return
    with pytest.raises(ConfigError, match="expected hf://datasets/OWNER/NAME@COMMIT/FILE, with a commit of 40 digits"):
        hub_dataset.parse(source)


@pytest.mark.thorough
def test_a_file_of_the_hub_is_read_and_then_found_in_the_cache(project: Project, served: Path) -> None:
    with serving(served, "datasets/owner/name", COMMIT) as hub:
        project.data(SOURCE)
        code, told = run(project, hub)
        assert (code, told.splitlines()[:2]) == (
            0,
            [
                f"{SOURCE}: Parquet, 5 rows, columns 'instruction', 'input', 'output', 'category'",
                f"dataset: 5 rows from {SOURCE}",
            ],
        )
        assert rows_of(project) == ROWS
        assert {file for _, file, _ in hub.requests} == {"data/train.parquet"}
        first = project.outputs()
        project.data(f"hf://datasets/owner/name@{COMMIT}/train.csv.gz")
        assert run(project, hub)[0] == 0
        assert project.outputs() == first
        held = {path.name for path in (project.folder / "hub").rglob("*.unpacked")}
        assert held == set(), "nothing is written into the hub's cache but by the hub's own library"
    project.data(SOURCE)
    code, told = project.run(HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(project.folder / "hub"))
    assert (code, project.outputs()) == (0, first)


@pytest.mark.thorough
def test_what_can_go_wrong_with_a_file_of_the_hub(project: Project, served: Path) -> None:
    with serving(served, "datasets/owner/name", COMMIT) as hub:
        project.data(f"hf://datasets/owner/name@{COMMIT}/data/test.parquet")
        code, told = run(project, hub)
        assert (code, f"owner/name at {COMMIT}: no data/test.parquet" in told) == (78, True)
        assert f"https://huggingface.co/datasets/owner/name/tree/{COMMIT} lists the files" in told
        project.data(f"hf://datasets/owner/other@{COMMIT}/data/train.parquet")
        code, told = run(project, hub)
        assert (code, "to fix it: correct download.data.source in params.yaml" in told) == (78, True)
        project.data(SOURCE, "0" * 64)
        code, told = run(project, hub)
        found = hashlib.sha256((served / "data/train.parquet").read_bytes()).hexdigest()
        assert (code, f"wrong SHA-256: expected {'0' * 64}, found {found}" in told) == (65, True)
        assert project.outputs() == {}


@pytest.mark.thorough
def test_a_file_that_was_damaged_on_its_way_is_asked_for_again(project: Project, served: Path) -> None:
    project.data(SOURCE)
    with serving(served, "datasets/owner/name", COMMIT) as hub:
        hub.script("GET", "data/train.parquet", "wrong bytes")
        assert run(project, hub)[0] == 0
        assert [method for method, _, _ in hub.requests].count("GET") == 2
    assert rows_of(project) == ROWS


@pytest.mark.thorough
def test_a_file_of_the_hub_is_looked_for_before_a_run(tmp_path: Path, served: Path) -> None:
    with serving(served, "datasets/owner/name", COMMIT) as hub:
        variables = {"HF_ENDPOINT": hub.endpoint}
        there = ask(tmp_path, variables, data={"source": SOURCE})["dataset"]
        gone = ask(tmp_path, variables, data={"source": SOURCE.replace("train", "gone")})["dataset"]
        branch = ask(tmp_path, variables, data={"source": SOURCE.replace(COMMIT, "main")})["dataset"]
        assert {method for method, _, _ in hub.requests} == {"HEAD"}
    assert there.state == "ok"
    assert there.found.startswith(f"data/train.parquet of owner/name at {COMMIT}, ")
    assert (gone.state, gone.exit_code) == ("problem", 78)
    assert (branch.state, branch.exit_code) == ("problem", 78)


@pytest.fixture
def sharded(served: Path) -> Path:
    """The same with the rows in two files, the last row of which has no answer, and with files of two formats."""
    (served / "shards/more").mkdir(parents=True)
    for number, rows in enumerate((ROWS[:3], [*ROWS[3:], {"instruction": "x", "output": None}])):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (served / f"shards/train-{number:05}.jsonl").write_text(text)
    (served / "shards/more/train-9.jsonl").write_text("another folder")
    (served / "mixed").mkdir()
    (served / "mixed/a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[:3]))
    (served / "mixed/b.csv").write_text("instruction,output\na,b\n")
    return served


@pytest.mark.thorough
@pytest.mark.parametrize("file", ["shards/train-*.jsonl", "shards/"])
def test_several_files_of_the_hub_are_read_as_one(project: Project, sharded: Path, file: str) -> None:
    with serving(sharded, "datasets/owner/name", COMMIT) as hub:
        project.data(f"hf://datasets/owner/name@{COMMIT}/{file}")
        code, told = run(project, hub)
        assert (code, "shards/train-00001.jsonl, row 3 (line 3): output: expected a text" in told) == (65, True)
        project.tree["download"]["data"]["on_invalid"] = "drop"
        code, told = run(project, hub)
        assert (code, "JSON lines in 2 files, 6 rows" in told) == (0, True), told
        assert rows_of(project) == ROWS
        report = json.loads(project.outputs()["artifacts/download/left_out.json"])
        assert [(one["file"], one["row"]) for one in report["left_out"]["rows"]] == [("shards/train-00001.jsonl", 3)]
        project.tree["download"]["data"]["sha256"] = "0" * 64
        code, told = run(project, hub)
        assert (code, "download.data.sha256: expected none for several files" in told) == (78, True)


@pytest.mark.thorough
def test_a_pattern_that_names_no_file_or_files_of_two_formats_is_refused(project: Project, sharded: Path) -> None:
    with serving(sharded, "datasets/owner/name", COMMIT) as hub:
        project.data(f"hf://datasets/owner/name@{COMMIT}/train-*.parquet")
        code, told = run(project, hub)
        assert (code, f"owner/name at {COMMIT}: no train-*.parquet" in told) == (78, True)
        project.data(f"hf://datasets/owner/name@{COMMIT}/mixed/")
        code, told = run(project, hub)
        assert (code, "mixed/b.csv: expected JSON lines, as in mixed/a.jsonl; found CSV" in told) == (65, True)
    project.data(f"hf://datasets/owner/name@{COMMIT}/mixed/")
    code, told = project.run(HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(project.folder / "hub"))
    assert (code, "HF_HUB_OFFLINE" in told) == (78, True), told
