"""Which mapping is proposed where the keys of a file are not known, and how."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from stages.common.errors import ConfigError
from stages.download import source
from tests.download.formats.reading import lines, read, refused, row


@pytest.mark.parametrize(
    ("keys", "proposed"),
    [
        (("question", "answer"), "{instruction: question, output: answer}"),
        (("instruction", "response"), "{output: response}"),
        (("INSTRUCTION", "RESPONSE", "CONTEXT"), "{instruction: INSTRUCTION, input: CONTEXT, output: RESPONSE}"),
        (("input", "output"), "{instruction: input}"),
        (("instructon", "ouput"), "{instruction: instructon, output: ouput}"),
        (("User Question", "answer"), None),
        (("question", "the answer"), None),
        (("prompt", "chosen", "rejected"), "{instruction: prompt, output: chosen}"),
        (("Q", "A"), "{instruction: Q, output: A}"),
        (("text",), None),
        (("Frage", "Antwort"), None),
    ],
)
def test_the_nearest_mapping_is_proposed(keys: tuple[str, ...], proposed: str | None) -> None:
    error = refused(lines(*[dict.fromkeys(keys, "a")] * 3))
    for key in keys:
        assert repr(key) in error.what
    assert error.fix is not None
    if proposed is None:
        assert "did you mean" not in error.what
        assert error.fix.startswith("set download.data.fields to the keys of the instruction and of the output, ")
    else:
        assert "\n  did you mean " in error.what
        assert error.fix.endswith(f"--set 'download.data.fields={proposed}'")


def test_a_mapping_is_proposed_as_it_stands_in_params_yaml() -> None:
    rows = [{"question": str(number), "answer": "b", "topic": "cd"[number % 2]} for number in range(6)]
    error = refused(lines(*rows))
    assert error.what == (
        "rows.csv: no row has instruction or output; the rows have 'question', 'answer', 'topic'\n"
        "  did you mean 'question' for instruction, 'answer' for output, 'topic' for category?"
    )
    assert error.fix == (
        "put these lines into params.yaml, in place of download.data.fields:\n"
        "    fields:\n"
        "      instruction: question\n"
        "      output: answer\n"
        "      category: topic\n"
        "  or add to python -m flows.run: --set "
        "'download.data.fields={instruction: question, output: answer, category: topic}'"
    )
    assert refused("Frage,Antwort\na,b\n", "rows.csv").fix == (
        "set download.data.fields to the keys of the instruction and of the output, such as "
        "--set 'download.data.fields={instruction: Frage, output: Antwort}'; or the fix"
    )


@pytest.mark.parametrize(
    ("key", "values", "is_one"),
    [
        ("topic", ["a", "b"] * 3, True),
        ("Task Type", ["a", "b"] * 3, True),
        ("label", ["a", "a", "b", "b", "c", "c"], False),  # three values for six rows
        ("topic", ["a"] * 6, False),
        ("topic", ["a", "b", None] * 3, True),
        ("topic", [1, 2] * 3, False),
        ("topic", ["a" * 61, "b"] * 3, False),
        ("author", ["a", "b"] * 3, False),
    ],
)
def test_a_category_is_a_key_of_that_name_with_few_values_for_many_rows(
    key: str, values: list[Any], is_one: bool
) -> None:
    rows = [{"instruction": "a", "output": "b", key: value} for value in values]
    found = read(lines(*rows))
    assert found.category == (key if is_one else None)
    said = [line for line in source.described(found) if "looks like a category" in line]
    named = key if key.isalpha() else f'"{key}"'
    assert said == is_one * [
        f"{key!r} looks like a category: for results by it, set category: {named} in the section "
        f"download.data.fields of params.yaml, or --set {shlex.quote(f'download.data.fields.category={named}')}"
    ]


def test_a_category_that_is_read_has_no_other() -> None:
    row_of = {"instruction": "a", "output": "b", "kind": "c"}
    rows = [row_of | {"topic": topic} for topic in "de"] * 3
    assert read(lines(*rows), fields={"category": "kind"}).category is None
    assert read(lines(*[one | {"category": "f"} for one in rows])).category is None
    assert read(lines(*rows), fields={"split": "topic"}).category is None


def test_a_key_that_yaml_would_not_take_for_a_text_is_in_quotation_marks() -> None:
    rows = [{"instruction": "a", "yes": "b", "No: 1": "c"}] * 3
    assert read(lines(*rows), fields={"output": "yes"}).rows == [row("a", "b")] * 3
    error = refused(lines(*rows), fields={"output": "No: 2"})
    assert error.fix is not None
    assert '\n    fields:\n      output: "No: 1"\n' in error.fix


def test_a_mapping_to_a_key_that_is_not_there_is_a_mistake_of_the_configuration() -> None:
    rows = lines(*[{"question": "a", "answer": "b"}] * 3)
    error = refused(rows, fields={"instruction": "question", "output": "response"})
    assert isinstance(error, ConfigError)
    assert error.what == (
        "download.data.fields: output: 'response': no row of rows.csv has that key; the rows have 'question', 'answer'"
    )
    assert error.fix is not None
    assert error.fix.endswith(" --set 'download.data.fields={instruction: question, output: answer}'")
