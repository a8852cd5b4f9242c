"""A choice that is made by measuring is made once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.common import paths
from stages.running import measured


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / paths.CACHE / "measured"


def never() -> str:
    raise AssertionError("measured a second time")


def choices(notes: Path) -> list[str]:
    return sorted(json.loads(path.read_text())["choice"] for path in notes.iterdir())


def test_it_is_measured_once_for_each_choice(notes: Path):
    assert measured.once("precision, width 128", lambda: "fp32") == "fp32"
    assert measured.once("precision, width 768", lambda: "bf16") == "bf16"
    assert measured.once("precision, width 128", never) == "fp32"
    assert measured.once("precision, width 768", never) == "bf16"
    assert choices(notes) == ["bf16", "fp32"]


def test_another_processor_is_measured_again(notes: Path, monkeypatch: pytest.MonkeyPatch):
    assert measured.once("precision", lambda: "fp32") == "fp32"
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(measured, "_machine", lambda: "another")
        assert measured.once("precision", lambda: "bf16") == "bf16"
    assert measured.once("precision", never) == "fp32"
    assert choices(notes) == ["bf16", "fp32"]


def test_of_two_that_measure_at_once_both_take_the_first_choice(notes: Path):
    def slower() -> str:
        assert measured.once("precision", lambda: "fp32") == "fp32"  # the other one, meanwhile
        return "bf16"

    assert measured.once("precision", slower) == "fp32"
    assert choices(notes) == ["fp32"]


@pytest.mark.parametrize("text", ["{", "[]", "null", "7", "{}", ""])
def test_a_broken_note_is_made_again(notes: Path, text: str):
    assert measured.once("precision", lambda: "bf16") == "bf16"
    (note,) = notes.iterdir()
    note.write_text(text)
    assert measured.once("precision", lambda: "fp32") == "fp32"
    assert choices(notes) == ["fp32"]


def test_where_it_cannot_be_kept_that_is_said(notes: Path, capsys: pytest.CaptureFixture[str]):
    notes.parent.write_text("in the way")
    assert measured.once("precision", lambda: "fp32") == "fp32"
    assert "not kept; no result depends on it" in capsys.readouterr().out
