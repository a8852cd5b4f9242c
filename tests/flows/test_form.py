"""The fields of the form, and what both of Prefect's pages send from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from flows import form, profiles
from flows.overrides import Overrides
from flows.pipeline import experiment, nightly, pipeline
from flows.seed_runs import seeds
from stages.params import options, reading, whole
from tests.root import ROOT

MODES = ("fail", "warn")
POSTED = json.loads((ROOT / "tests" / "fixtures" / "forms.json").read_text(encoding="utf-8"))["posted"]
CHANGED: dict[str, dict[str, Any]] = {
    "untouched": {},
    "filled": {"finetune.epochs": 2, "finetune.drop_last": False},
    "many": {
        "finetune.epochs": 2,
        "finetune.learning_rate": 0.001,
        "judge.backend": "ollama",
        "judge.model": "llama3.1",
        "generate.models": ["tuned"],
        "judge.parallel": 2,
        "finetune.patience": None,
    },
}


@pytest.fixture(scope="module")
def schema() -> form.Schema:
    return form.experiment(ROOT, ("current", "quick"), MODES)


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a schema."""
    if isinstance(schema, dict):
        yield schema
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from parts(part)


def fields(schema: form.Schema, prefix: str = "") -> Iterator[tuple[str, form.Schema]]:
    """The dotted key and the schema of each field that the form shows below ``overrides``, in the form's order."""
    for name, field in sorted(schema["properties"].items(), key=lambda item: item[1]["position"]):
        if "properties" in field:
            yield from fields(field, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


@pytest.mark.parametrize("kind", CHANGED)
@pytest.mark.parametrize("page", ["V1", "V2"])
def test_what_a_page_posts_is_what_was_asked_for(schema: form.Schema, page: str, kind: str) -> None:
    parameters = POSTED[f"{page} {kind}"]["parameters"]
    Draft202012Validator(schema).validate(parameters)
    asked = experiment.validate_parameters(parameters)
    before = reading.flatten(profiles.overlaid(ROOT, "current", {}))
    after = reading.flatten(profiles.overlaid(ROOT, "current", asked["overrides"].tree()))
    assert asked["profile"] == "current"
    assert asked["force"] is (kind == "many")
    assert asked["preflight"] == ("warn" if kind == "many" else "fail")
    assert after == before | CHANGED[kind]
    assert asked["overrides"].tree() == options.nested(CHANGED[kind])


@pytest.mark.parametrize("flow", [pipeline, nightly, experiment, seeds])
def test_no_boolean_is_in_a_schema_which_a_page_would_send_without_being_asked(flow: Any, schema: form.Schema) -> None:
    for made in (schema, form.nightly(MODES), flow.parameters.model_dump()):
        assert not [part for part in parts(made) if part.get("type") == "boolean"]
    for made in (schema, form.nightly(MODES)):
        assert not [part for part in parts(made) if "default" in part or "$ref" in part]


def test_the_values_that_people_change_come_first_and_every_value_comes_once(schema: form.Schema) -> None:
    keys = [key for key, _ in fields(schema["properties"]["overrides"])]
    assert tuple(keys[:10]) == form.FIRST
    assert len(form.FIRST) == 10
    leaves = [key for key in whole.known_keys() if not any(other.startswith(f"{key}.") for other in whole.known_keys())]
    shown = {
        "finetune.lora": ["rank", "alpha", "targets"],
        "judge.calibration": ["source", "sha256"],
        "judge.panel": ["backend", "model"],
        "download.data.sources": [
            *("source", "sha256", "name", "weight", "share", "cap", "filter", "fields"),
            *(f"fields.{name}" for name in ("instruction", "input", "output", "category", "split")),
            *(f"filter.{name}" for name in ("categories", "without", "matching", "longest")),
        ],
    }
    inner = {f"{key}.{name}" for key, names in shown.items() for name in names}
    assert sorted(keys) == sorted({*leaves, *shown} - inner)


def test_a_field_has_the_comment_and_the_present_value_and_a_title_to_read(schema: form.Schema) -> None:
    found = dict(fields(schema["properties"]["overrides"]))
    assert found["finetune.epochs"] == {
        "type": "integer",
        "minimum": 1,
        "title": "Epochs",
        "description": "Now 3. Passes over the train rows, unless max_steps ends the training earlier. In params.yaml: "
        "finetune.epochs",
        "position": 0,
    }
    assert [one["title"] for one in found["finetune.max_steps"]["anyOf"]] == ["a value", "null"]
    assert found["finetune.drop_last"]["enum"] == ["true", "false"]
    assert found["finetune.drop_last"]["description"].startswith("Now true. Leave out the last batch of an ")
    assert found["generate.max_new_tokens"]["description"].startswith("Now 32. The longest answer, in tokens; ")
    assert found["finetune.devices"]["description"].startswith("Now 1. Processes that share every batch, ")
    assert found["generate.models"]["description"].startswith("Now [base, tuned]. Models that answer: ")
    assert found["finetune.lora"]["description"].startswith("Now null. LoRA: train low-rank updates ")
    assert all(field["description"].startswith("Now ") for field in found.values())
    assert not [field["title"] for field in found.values() if "_" in field["title"] or field["title"][0].islower()]


def test_the_values_are_those_of_the_last_commit_or_else_of_the_file(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("  epochs: 3", "  epochs: 9")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    found = dict(fields(form.experiment(tmp_path, ("current",), MODES)["properties"]["overrides"]))
    assert found["finetune.epochs"]["description"].startswith("Now 9. ")
    (tmp_path / "params.yaml").write_text("finetune: [", encoding="utf-8")
    found = dict(fields(form.experiment(tmp_path, ("current",), MODES)["properties"]["overrides"]))
    assert found["finetune.epochs"]["description"].startswith("Not set. ")


@pytest.mark.parametrize(
    "wrong",
    [
        {"finetune.epochs": 0},
        {"finetune": {"epochs": 0}},
        {"judge.retries": 21},
        {"judge": {"retries": 21}},
        {"finetune": {"drop_last": "maybe"}},
        {"finetune.epochs": "3"},
        {"finetune.epocs": 3},
        {"tokenize": {"prompt_style": "chatml"}},
    ],
)
def test_a_wrong_value_is_refused_by_the_server_however_its_key_is_written(
    schema: form.Schema, wrong: dict[str, Any]
) -> None:
    assert not Draft202012Validator(schema).is_valid({"overrides": wrong})


def test_every_value_can_be_given_by_section_and_by_dotted_key(schema: form.Schema) -> None:
    values = reading.flatten(reading.read_values(ROOT / "params.yaml"))
    for key, value in values.items():
        # As a form or JSON has it.
        sent = str(value).lower() if isinstance(value, bool) else value
        for given in ({key: sent}, options.nested({key: sent})):
            Draft202012Validator(schema).validate({"overrides": given})
            assert Overrides(**given).tree() == options.nested({key: value})


def test_the_further_judges_are_a_typed_list(schema: form.Schema) -> None:
    field = dict(fields(schema["properties"]["overrides"]))["judge.panel"]
    assert (field["title"], field["type"]) == ("Further judges", "array")
    assert field["description"].startswith("Now []. Further judges, which score the same answers")
    item = field["items"]
    assert (item["required"], item["additionalProperties"]) == (["backend", "model"], False)
    assert item["properties"]["backend"]["enum"] == ["ollama", "openai"]
    checked = Draft202012Validator(schema)
    for judges, is_valid in (
        ([{"backend": "ollama", "model": "qwen3"}], True),
        ([], True),
        ([{"backend": "ollama"}], False),
        ([{"backend": "reference", "model": "x"}], False),
        ("qwen3", False),
    ):
        assert checked.is_valid({"overrides": {"judge": {"panel": judges}}}) == is_valid
    given = Overrides(**{"judge.panel": [{"backend": "ollama", "model": "qwen3"}]})
    assert given.tree() == {"judge": {"panel": [{"backend": "ollama", "model": "qwen3"}]}}


def test_a_run_of_the_folder_takes_no_other_values() -> None:
    checked = Draft202012Validator(form.nightly(MODES))
    assert checked.is_valid({"force": "yes", "preflight": "warn"})
    assert not checked.is_valid({"preflight": "off"})
    assert not checked.is_valid({"overrides": {"finetune": {"epochs": 3}}})
    assert not checked.is_valid({"profile": "quick"})


def test_several_trainings_take_a_number_and_what_a_run_with_other_values_takes(schema: form.Schema) -> None:
    made = form.seeds(ROOT, ("current", "quick"), MODES, least=2, most=50, usual=5)
    assert list(made["properties"]) == ["trainings", *schema["properties"]]
    checked = Draft202012Validator(made)
    for number, is_valid in ((1, False), (2, True), (50, True), (51, False), ("5", False)):
        assert checked.is_valid({"trainings": number}) == is_valid
    asked = seeds.validate_parameters({"trainings": 3, "overrides": {"finetune.seed": 7}})
    assert (asked["trainings"], asked["overrides"].tree()) == (3, {"finetune": {"seed": 7}})
    assert seeds.validate_parameters({})["trainings"] == 5


def test_each_field_has_words_of_its_own(schema: form.Schema) -> None:
    keys = [key for key, _ in fields(schema["properties"]["overrides"])]
    said = form.comments((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert [key for key in keys if key not in said] == []
    words = [said[key] for key in keys]
    assert [key for key, its in zip(keys, words, strict=True) if words.count(its) > 1] == []
    # The form has another order, and shows no value's neighbours.
    assert [its for its in words if re.search(r"\b(below|those above|down to)\b", its)] == []


def test_a_comment_is_that_of_the_key_below_it_or_beside_it() -> None:
    text = (
        "# Of the file.\n\na:\n  # One,\n  # two.\n  b:\n  - 1\n  c: 2  # It's three.\n  g: 'x # y'\n\n"
        "  # Four.\n  d:\n    e: 4\n  # Five.\n\n  h: 6\nf: 5\n"
    )
    assert form.comments(text) == {"a.b": "One, two.", "a.c": "It's three.", "a.d": "Four."}
