"""What is read from dvc.yaml and from .dvc files, in each form in which DVC lets it be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.running import dvc_yaml
from stages.running.dvc_yaml import Import

_PIPELINE = """\
stages:
  train:
    cmd: python train.py
    deps: [train.py, {data: {x: 1}}]
    params: [split.seed, {other.yaml: [a, b]}, {whole.yaml: }]
    outs: [{model: {persist: true}}]
    metrics: [{scores.json: {cache: false}}]
    plots: [loss.csv]
  end:
    cmd: [echo 1, echo 2]
"""


def test_every_form_of_an_entry_is_read(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(_PIPELINE)
    found = dvc_yaml.entries(tmp_path)
    assert list(found) == ["train", "end"]
    train = found["train"]
    assert train.cmd == "python train.py"
    assert train.keys == {Path("params.yaml"): ("split.seed",), Path("other.yaml"): ("a", "b"), Path("whole.yaml"): ()}
    assert train.deps == (Path("train.py"), Path("data"))
    assert train.outs == (Path("model"), Path("scores.json"), Path("loss.csv"))
    assert found["end"][:4] == (["echo 1", "echo 2"], {}, (), ())
    assert train.digest != found["end"].digest
    assert dvc_yaml.entry_of("end", tmp_path) == found["end"]
    assert dvc_yaml.entry_of("none", tmp_path) is None


@pytest.mark.parametrize("text", [None, "", "stages: [\n", "stages: 3\n", "stages: {a: 3}\n", "- 1\n"])
def test_what_cannot_be_read_has_no_stages(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "dvc.yaml").write_text(text)
    assert dvc_yaml.entries(tmp_path) == {}


def test_a_path_comes_from_where_dvc_brings_it_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "rows.json").touch()
    (tmp_path / "data.dvc").write_text("deps: [{path: assets}]\nouts: [{path: data}]\n")
    assert dvc_yaml.origin(Path("data/rows.json")) == Path("assets/rows.json")
    assert dvc_yaml.origin(Path("data/none.json")) == Path("data/none.json")
    assert dvc_yaml.origin(Path("rows.json")) == Path("rows.json")


def test_the_sources_of_what_is_imported_are_named_where_they_are_here(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "assets").mkdir()
    (tmp_path / "a.dvc").write_text("deps: [{path: assets}]\nouts: [{md5: 1f.dir, path: data}]\n")
    (tmp_path / "b.dvc").write_text("deps: [{path: 'https://example.org/x'}]\nouts: [{path: x}]\n")
    (tmp_path / "c.dvc").write_text("<<<<<<< HEAD\n")
    assert list(dvc_yaml.imports(tmp_path)) == [
        Import(Path("assets"), Path("data"), "1f.dir"),
        Import(None, Path("x"), None),
    ]
