"""Which datasets need a SHA-256 in params.yaml: those that DVC does not watch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from stages.common.errors import ConfigError
from stages.download import source
from stages.params.download import DataSource
from tests.download.test_stage import Project


def check(name: str, sha256: str | None = None) -> None:
    source.require_sha256(DataSource.model_validate({"source": name, "sha256": sha256}))


@pytest.fixture
def in_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    Project(tmp_path)
    (tmp_path / "other.json").write_text("[]")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_data_that_dvc_watches_needs_no_hash(in_project: Path) -> None:
    check("data/rows.json")
    check("./data/../data/rows.json")
    check(str(in_project / "data/rows.json"))
    check("other.json", sha256="0" * 64)


@pytest.mark.parametrize("path", ["other.json", "data/../other.json", "./other.json", "data/../data/../other.json"])
def test_other_paths_need_one_and_are_told_it(in_project: Path, path: str) -> None:
    with pytest.raises(ConfigError, match=r"^download\.data\.sha256: needed for ") as raised:
        check(path)
    found = hashlib.sha256(b"[]").hexdigest()
    assert raised.value.fix == (
        f"put this line into params.yaml, in place of download.data.sha256:\n    sha256: {found}\n"
        f"  or add to python -m flows.run: --set download.data.sha256={found}"
    )


def test_sources_without_a_hash_that_have_none(in_project: Path) -> None:
    with pytest.raises(ConfigError, match="needed for a URL") as raised:
        check("https://host.invalid/rows.json")
    assert "sha256sum" in str(raised.value.fix)
    with pytest.raises(ConfigError, match="no such file"):
        check("nowhere.json")
    with pytest.raises(ConfigError, match=r"data/nowhere\.json: no such file\n.*dvc repro download"):
        check("data/nowhere.json")
    with pytest.raises(ConfigError, match="found a folder"):
        check("..")
