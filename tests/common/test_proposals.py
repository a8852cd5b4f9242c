"""Values that a message proposes, pasted as a person pastes them: into params.yaml, and behind a command."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from flows import profiles
from stages.common import proposals
from stages.common.errors import ConfigError, DataError
from stages.download import source
from stages.params import options, reading, whole
from tests.root import ROOT

PARAMS = (ROOT / "params.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("drop", "drop"),
        ("data/rows.csv", "data/rows.csv"),
        ("4f53cda18c2b", "4f53cda18c2b"),
        ("120", '"120"'),
        ("12e4", '"12e4"'),
        ("0b1", '"0b1"'),
        ("0b10", '"0b10"'),
        ("0x1f", '"0x1f"'),
        ("0o17", '"0o17"'),
        ("a\x7fb\x85c\u2028", '"a\\u007fb\\u0085c\\u2028"'),
        ("\ud800", '"\\ud800"'),
        ("No", '"No"'),
        ("null", '"null"'),
        ("The question: (text)", '"The question: (text)"'),
        ("Größe", '"Größe"'),
        ("", '""'),
        (8, "8"),
        (0.1, "0.1"),
        (None, "null"),
        (True, "true"),
    ],
)
def test_a_value_comes_back_from_what_is_written(value: object, written: str) -> None:
    assert proposals.scalar(value) == written
    assert YAML().load(f"key: {written}") == {"key": value}
    assert YAML().load(f"{{key: {written}, other: 1}}") == {"key": value, "other": 1}


@given(
    st.text(st.characters())
    | st.text(alphabet="01b2oxe_.-+ fnul~\x85\x7f\ufeff", max_size=6)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
)
@settings(deadline=None, max_examples=300)
def test_any_value_comes_back_and_can_be_printed(value: object) -> None:
    written = proposals.scalar(value)
    written.encode("utf-8")
    found = YAML(typ="safe", pure=True).load(f"{{key: {written}, other: 1}}")
    assert found == {"key": value, "other": 1}
    assert type(found["key"]) is type(value)


def in_params(values: Mapping[str, Any]) -> str:
    """params.yaml with values, as an editor would write them."""
    tree = reading.read_yaml(ROOT / "params.yaml")
    reading.merge(tree, options.nested(values))
    return profiles.to_text(tree)


def pasted(text: str, fix: str) -> str:
    """A params.yaml after the lines of a message have been put in the place that it names."""
    first, *rest = fix.splitlines()
    wanted = [line for line in rest if line.startswith("    ")]
    place = first.removesuffix(":").rpartition(" in place of ")[2].split(" and ")[0].split(".")
    lines = text.splitlines()
    at = 0
    for depth, name in enumerate(place):  # a person looks for one section after the other
        at = next(number for number in range(at, len(lines)) if lines[number].startswith(f"{'  ' * depth}{name}:"))
    deeper = "  " * len(place)
    end = at + 1
    while end < len(lines) and lines[end].startswith(deeper):
        end += 1
    return "\n".join([*lines[:at], *wanted, *lines[end:]]) + "\n"


def proposed(folder: Path, text: str) -> str:
    """What is proposed where the dataset of a params.yaml cannot be read."""
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises((ConfigError, DataError)) as raised:
        source.fetch_rows(whole.load(folder / "params.yaml").download.data, [])
    assert raised.value.fix is not None
    return raised.value.fix


def read_by(folder: Path, text: str) -> list[dict[str, str]]:
    """The rows that the stage download makes by a params.yaml."""
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    rows: list[dict[str, str]] = []
    source.fetch_rows(whole.load(folder / "params.yaml").download.data, rows)
    return rows


ROWS = [{"Question (text)": f"q{number}", "answer": "a", "topic": "xy"[number % 2]} for number in range(6)]
WANTED = [
    {"instruction": f"q{number}", "input": "", "output": "a", "category": "xy"[number % 2]} for number in range(6)
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)).replace("Question (text)", "question"))
    return tmp_path


def test_lines_of_a_message_are_pasted_into_params_yaml(folder: Path) -> None:
    """First the digest that is missing, then the mapping: after both the rows are read."""
    text = in_params({"download.data.source": "rows.jsonl"})
    fix = proposed(folder, text)
    assert fix.startswith("put this line into params.yaml, in place of download.data.sha256:\n    sha256: ")
    text = pasted(text, fix)
    fix = proposed(folder, text)
    assert fix.startswith("put these lines into params.yaml, in place of download.data.fields:\n    fields:\n")
    assert read_by(folder, pasted(text, fix)) == WANTED


def test_options_of_a_message_are_pasted_behind_a_command(folder: Path) -> None:
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)).replace("Question (text)", "the question?"))
    given: dict[str, Any] = {"download.data.source": "rows.jsonl"}
    given["download.data.fields"] = {"instruction": "the question?"}
    for _ in range(2):
        fix = proposed(folder, in_params(given))
        words = shlex.split(fix.rpartition("\n  or add to python -m flows.run: ")[2])
        assert words[::2] == ["--set"] * (len(words) // 2)
        given |= dict(map(options.parse, words[1::2]))
    assert given["download.data.sha256"] == hashlib.sha256((folder / "rows.jsonl").read_bytes()).hexdigest()
    assert given["download.data.fields"] == {"instruction": "the question?", "output": "answer", "category": "topic"}
    (folder / "params.yaml").write_text(PARAMS, encoding="utf-8")
    assert read_by(folder, profiles.to_text(profiles.overlaid(folder, profiles.CURRENT, given))) == WANTED


def test_a_proposal_within_a_sentence_is_of_both_forms() -> None:
    key = "download.data.on_invalid"
    said = proposals.inline(key, "drop")
    line, _, option = said.partition(" in the section download.data of params.yaml, or ")
    assert options.parse(shlex.split(option)[1]) == (key, "drop")
    assert YAML().load(line) == {"on_invalid": "drop"}


def test_a_dotted_line_that_is_pasted_is_answered_with_the_lines_that_are_right(folder: Path) -> None:
    (folder / "params.yaml").write_text("download.data.fields: {instruction: question}\n" + PARAMS, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        whole.load(folder / "params.yaml")
    assert raised.value.what == (
        "params.yaml: 1 problem:\n"
        "  - download.data.fields: expected fields in the section download.data, found one key with dots, as --set "
        "takes them; in its place it is\n"
        "    fields:\n"
        "      instruction: question"
    )
