"""An earlier export is pushed as it is: what a later command asks for and it does not have is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.common.errors import ConfigError, DataError
from stages.common.files import sha256
from stages.judge.export import earlier
from stages.judge.export.formats import Wanted
from stages.judge.export.report import Exported, Report

LICENSED = '---\nlicense: "other"\nlibrary_name: transformers\n---\n\n# A model\n\nlicense: "mit"\n'
PLAIN = '---\nlibrary_name: transformers\n---\n\n# A model\n\n---\nlicense: "mit"\n'


def made(folder: Path, card: str = LICENSED, *formats: str) -> Report:
    (folder / "hf").mkdir()
    (folder / "hf" / "README.md").write_text(card)
    digests = {"hf/README.md": sha256(folder / "hf" / "README.md")}
    hf = Exported(format="hf", path="hf", sha256=digests, verdict="same")
    others = [Exported(format=name, path=name, sha256={}, verdict="same") for name in formats]
    return Report(run="HEAD", responses="0" * 64, rows=4, exports=[hf, *others])


def test_another_licence_is_refused_with_that_of_the_card(tmp_path):
    found = made(tmp_path)

    with pytest.raises(ConfigError) as caught:
        earlier.require(found, tmp_path, Wanted(["hf"], [], "apache-2.0"), "out")

    assert caught.value.what == "out: hf/README.md: expected the licence of --license apache-2.0, found other"
    assert caught.value.fix == "--license other; or name a new folder, which gets a new export"


def test_a_licence_for_a_card_without_one_is_refused(tmp_path):
    found = made(tmp_path, PLAIN)

    with pytest.raises(ConfigError, match=r"--license mit, found none\n.*leave out --license; or name a new folder"):
        earlier.require(found, tmp_path, Wanted(["hf"], [], "mit"), "out")


@pytest.mark.parametrize("licence", ["other", ""])
def test_the_licence_of_the_card_or_none_is_taken(tmp_path, licence):
    earlier.require(made(tmp_path), tmp_path, Wanted(["hf"], [], licence), "out")


@pytest.mark.parametrize(
    ("formats", "quantisations", "lacking"),
    [
        (["hf", "gguf"], ["q8_0"], "gguf q8_0"),
        (["hf", "gguf"], ["f16", "q8_0", "q4_k_m"], "gguf q8_0, gguf q4_k_m"),
        (["hf", "ollama"], [], "ollama f32"),
    ],
)
def test_files_that_it_lacks_are_named(tmp_path, formats, quantisations, lacking):
    found = made(tmp_path, LICENSED, "gguf f32", "gguf f16")

    with pytest.raises(ConfigError) as caught:
        earlier.require(found, tmp_path, Wanted(formats, quantisations, ""), "out")

    assert caught.value.what == f"out: expected an export to {lacking}, found hf, gguf f32, gguf f16 alone"
    assert "leave it out of --to and --quantize, or name a new folder" in str(caught.value)


@pytest.mark.parametrize(("formats", "quantisations"), [(["hf"], []), (["hf", "gguf"], ["f16"]), (["gguf", "hf"], [])])
def test_more_than_is_asked_for_is_taken(tmp_path, formats, quantisations):
    found = made(tmp_path, LICENSED, "gguf f32", "gguf f16", "gguf q8_0")

    earlier.require(found, tmp_path, Wanted(formats, quantisations, "other"), "out")


def test_a_file_that_was_changed_is_told_before_its_licence(tmp_path):
    found = made(tmp_path)
    (tmp_path / "hf" / "README.md").write_text("edited")

    with pytest.raises(DataError, match=r"out: hf/README\.md: expected the file that was compared"):
        earlier.require(found, tmp_path, Wanted(["hf"], [], "mit"), "out")
