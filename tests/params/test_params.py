"""params.yaml that is no mapping, or no text: the configuration is at fault, and the message says what it wants."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.common.errors import ConfigError
from stages.params import options, reading, whole
from stages.params.differences import ABSENT, differences, shown
from tests.root import ROOT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected the sections profile, download, split, tokenize, finetune, generate, judge; found nothing"),
        (b"- 1\n- 2\n", "expected the sections .*; found a list"),
        (b"\xff\xfe", "params.yaml"),
        (None, "params.yaml: no such file"),
        (b"a: [", "not valid YAML"),
    ],
    ids=["empty", "list", "not UTF-8", "missing", "not YAML"],
)
def test_what_is_no_configuration_is_a_configuration_error(tmp_path: Path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("params.yaml").write_bytes(content)

    with pytest.raises(ConfigError, match=message):
        whole.load()


def altered(old: str, new: str) -> str:
    text = (ROOT / "params.yaml").read_text()
    assert f"\n{old}\n" in text
    return text.replace(f"\n{old}\n", f"\n{new}\n", 1)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    seed: 123", "    seed: many", "download.model.seed: expected a whole number; found 'many'"),
        ("    seed: 123", "    seed: 1.5", "download.model.seed: expected a whole number; found 1.5"),
        ("    seed: 123", "    seed: null", "download.model.seed: expected a whole number; found null"),
        ("    seed: 123", "    seed: true", "download.model.seed: expected a whole number; found true"),
        ("    seed: 123", "    seed: -1", "download.model.seed: expected 0 or more; found -1"),
        ("    seed: 123", "    seed: 2020-01-02", "download.model.seed: expected a whole number; found '2020-01-02'"),
        ("    sha256:", "    sha256: abc", "sha256: expected a SHA-256: 64 digits from 0-9 and a-f; found 'abc'"),
        ("    clean: false", "    clean: 1", "download.data.clean: expected true or false; found 1"),
        ("    on_invalid: refuse", "    on_invalid: skip", "on_invalid: expected 'refuse' or 'drop'; found 'skip'"),
        (
            "      output:",
            "      output: ''",
            "download.data.fields.output: expected a text that is not empty; found ''",
        ),
        ("      output:", "      output: 5", "download.data.fields.output: expected a text; found 5"),
        ("      output:", "      outputs: a", "download.data.fields.outputs: unknown key; did you mean "),
        (
            "profile: quick",
            "profile: quick\nfinetune.epochs: 3",
            "finetune.epochs: expected epochs in the section finetune, found ",
        ),
        (
            "profile: quick",
            "profile: quick\ndownload.data.fields: {}",
            "download.data.fields: expected fields in the section download.data, ",
        ),
        ("    weights: scratch", "    weights: hb", "weights: expected 'scratch', 'hub' or 'folder'; found 'hb'"),
        ("  learning_rate: 0.005", "  learning_rate: 0", "learning_rate: expected more than 0; found 0"),
        ("  learning_rate: 0.005", "  learning_rate: 2", "learning_rate: expected 1 or less; found 2"),
        ("  learning_rate: 0.005", "  learning_rate: .nan", "finetune.learning_rate: expected "),
        ("  drop_last: true", "  drop_last: 1", "finetune.drop_last: expected true or false; found 1"),
        ("  lora:", "  lora: 5", "finetune.lora: expected the keys rank, alpha, targets; found 5"),
        ("  models:\n  - base\n  - tuned", "  models: tuned", "generate.models: expected a list; found 'tuned'"),
        (
            "  models:\n  - base\n  - tuned",
            "  models: []",
            "generate.models: expected a list that is not empty; found []",
        ),
        ("  model: llama3", "  model: ''", "judge.model: expected a text that is not empty; found ''"),
        ("  model: llama3", r'  model: ["\e[2J"]', r"judge.model: expected a text; found ['\x1b[2J']"),
    ],
)
def test_a_wrong_value_is_told_in_words(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(altered(old, new))
    with pytest.raises(ConfigError) as raised:
        whole.load(path)
    assert said in raised.value.what
    assert "nput should" not in raised.value.what


def test_a_section_that_is_none(tmp_path: Path) -> None:
    tree = json.loads(json.dumps(reading.read_yaml(ROOT / "params.yaml")))
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps(tree | {"split": [1]}))
    with pytest.raises(ConfigError) as raised:
        whole.load(path)
    assert raised.value.what.endswith("\n  - split: expected the keys method, seed, train, test, checks; found [1]")


@pytest.mark.parametrize("value", ["!!int x", "!!float abc", "!!bool x", "2020-13-45", "[" * 5000])
def test_what_python_says_of_a_value_is_not_shown(tmp_path: Path, value: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(altered("    seed: 123", f"    seed: {value}"))
    with pytest.raises(ConfigError) as raised:
        whole.load(path)
    assert raised.value.fix == f"correct {path}"
    assert "invalid literal" not in raised.value.what


@pytest.mark.parametrize("section", ["generate", "judge"])
@pytest.mark.parametrize(("value", "wrong"), [(0.0, False), (1e-6, False), (9e-7, True), (1e-307, True)])
def test_a_temperature_is_0_or_large_enough_to_sample(tmp_path: Path, section: str, value: float, wrong: bool) -> None:
    tree = json.loads(json.dumps(reading.read_yaml(ROOT / "params.yaml")))
    tree[section]["temperature"] = value
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps(tree))
    if not wrong:
        assert getattr(whole.load(path), section).temperature == value
        return
    with pytest.raises(ConfigError) as raised:
        whole.load(path)
    expected = f"expected 0, which is greedy decoding, or 1e-06 or more; found {value:g}"
    assert raised.value.what.endswith(f"\n  - {section}.temperature: {expected}")


@pytest.mark.parametrize("section", ["data", "tokenizer"])
def test_a_password_does_not_get_into_params_yaml(tmp_path: Path, section: str) -> None:
    tree = json.loads(json.dumps(reading.read_yaml(ROOT / "params.yaml")))
    tree["download"][section]["source"] = "https://me:secret@host/rows.json"
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps(tree))
    with pytest.raises(ConfigError, match=rf"download\.{section}\.source: expected a URL without a user's") as raised:
        whole.load(path)
    assert "put them into ~/.netrc: machine HOST login NAME" in raised.value.what
    assert "secret" not in str(raised.value)


def test_two_fields_do_not_have_one_key(tmp_path: Path) -> None:
    tree = json.loads(json.dumps(reading.read_yaml(ROOT / "params.yaml")))
    path = tmp_path / "params.yaml"
    tree["download"]["data"]["fields"] = {"instruction": "text", "output": "text"}
    path.write_text(json.dumps(tree))
    with pytest.raises(ConfigError, match=r"download\.data\.fields: expected another key for each field; found 'text'"):
        whole.load(path)


@pytest.mark.parametrize(("repo", "wrong"), [(None, True), ("models/gpt2", False)])
def test_a_folder_needs_its_path(tmp_path: Path, repo: str | None, wrong: bool) -> None:
    tree = json.loads(json.dumps(reading.read_yaml(ROOT / "params.yaml")))
    tree["download"]["model"] |= {"weights": "folder", "repo": repo}
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps(tree))
    if not wrong:
        assert whole.load(path).download.model.weights == "folder"
        return
    with pytest.raises(ConfigError, match=r"download\.model: weights: folder needs repo: the path of the folder"):
        whole.load(path)


def test_values_that_differ_are_named_by_their_dotted_keys_in_the_order_of_the_first_tree() -> None:
    before = {"b": {"y": 1, "x": [1, 2], "lora": None}, "a": 1, "gone": 0.5}
    now = {"a": True, "b": {"x": [2, 1], "y": 1.0, "lora": {"rank": 2}}, "new": "text"}

    assert list(differences(before, now)) == [
        ("b.x", [1, 2], [2, 1]),
        ("b.lora", None, {"rank": 2}),
        ("a", 1, True),
        ("gone", 0.5, ABSENT),
        ("new", ABSENT, "text"),
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.004, "0.004"),
        ("llama3", "llama3"),
        (None, "null"),
        (True, "true"),
        ({"rank": 2}, '{"rank": 2}'),
        (["base", "tuned"], '["base", "tuned"]'),
        ("two words", '"two words"'),
        ("null", '"null"'),
        ("", '""'),
        ("é", "é"),
        (ABSENT, "absent"),
    ],
)
def test_a_value_is_shown_as_it_can_be_set(value: object, expected: str) -> None:
    assert shown(value) == expected


def test_a_file_of_the_working_directory_is_named_by_its_short_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "params.yaml"
    path.write_text("split: {seed: 1, seed: 2}\n")
    for given in (path, Path("params.yaml")):
        with pytest.raises(ConfigError) as raised:
            whole.load(given)
        assert raised.value.what.startswith("params.yaml: not valid YAML at line 1, column 18: found duplicate key")
        assert raised.value.fix == "correct params.yaml"
    path.write_text("split: 3\n")
    with pytest.raises(ConfigError, match=r"^params\.yaml: \d+ problems:") as raised:
        whole.load(path)
    assert raised.value.fix == "correct params.yaml"
    path.unlink()
    with pytest.raises(ConfigError, match=r"^params\.yaml: no such file\n.*: git checkout -- params\.yaml$"):
        whole.load(path)


def test_values_are_those_of_the_file_at_each_reading_and_belong_to_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("a: {b: [1, 2]}  # a comment\n")
    first = reading.read_values(path)
    assert type(first) is dict
    assert type(first["a"]["b"]) is list
    first["a"]["b"].append(3)

    assert reading.read_values(path) == {"a": {"b": [1, 2]}}
    path.write_text("a: {b: [1, 4]}  # a comment\n")
    assert reading.read_values(path) == {"a": {"b": [1, 4]}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=3", 3),
        ("a.b=5e-5", 5e-5),
        ("a.b=null", None),
        ("a.b=[tuned]", ["tuned"]),
        ("a.b=x=y", "x=y"),
        ("a.b=", None),
    ],
)
def test_an_override_is_what_it_looks_like(text: str, value: object) -> None:
    assert options.parse(text) == ("a.b", value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("download.data.sha256=0000", "0000"),
        ("download.model.revision=1e40", "1e40"),
        ("judge.model=2024-01-01", "2024-01-01"),
        ("judge.model=true", "true"),
        ("profile=7", "7"),
        ("download.data.sha256=null", None),
        ("download.data={source: 007, sha256: 0123}", {"source": "007", "sha256": "0123"}),
        ("judge.calibration={source: 007, sha256: null}", {"source": "007", "sha256": None}),
        ("generate.models=[1]", ["1"]),
        ("finetune.epochs=0012", 12),
        ("finetune.lora={rank: 4, alpha: 8, targets: [c_attn]}", {"rank": 4, "alpha": 8, "targets": ["c_attn"]}),
        ("judge.expected_value=true", True),
        ("judge.seed=x", "x"),
    ],
)
def test_a_text_is_a_text_where_one_is_wanted_whatever_it_is_made_of(text: str, value: object) -> None:
    assert options.parse(text)[1] == value


@pytest.mark.parametrize("text", ["a.b", "=3", "a.b=[1", "judge.model=2020-13-45"])
def test_a_malformed_override_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        options.parse(text)


def test_dotted_keys_become_nested_ones() -> None:
    assert options.nested({"a.b": 1, "a.c": 2, "d": 3}) == {"a": {"b": 1, "c": 2}, "d": 3}
