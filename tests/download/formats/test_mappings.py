"""Which mapping is proposed where the keys of a file are not known, and how."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.errors import ConfigError, DataError
from stages.download import source
from stages.params.download import DataFields
from tests.download.formats.reading import lines, read, refused, row


def mapping_of(error: ConfigError | DataError) -> dict[str, str]:
    """The mapping of the option that an error proposes."""
    assert error.fix is not None
    [option] = shlex.split(error.fix.split("--set ")[1].split("; or ")[0])
    key, _, value = option.partition("=")
    assert key == "download.data.fields"
    mapping: dict[str, str] = yaml.safe_load(value)
    return mapping


@pytest.mark.parametrize(
    ("keys", "proposed"),
    [
        (("question", "answer"), "{instruction: question, output: answer}"),
        (("instruction", "response"), "{output: response}"),
        (("INSTRUCTION", "RESPONSE", "CONTEXT"), "{instruction: INSTRUCTION, input: CONTEXT, output: RESPONSE}"),
        (("input", "output"), "{instruction: input}"),
        (("Input", "Output"), "{instruction: Input, output: Output}"),
        (("INPUT", "context", "Output"), "{instruction: INPUT, input: context, output: Output}"),
        (("input", "context", "output"), "{instruction: input, input: context}"),
        (("question", "input", "answer"), "{instruction: question, output: answer}"),
        (("Question", "Input", "Answer"), "{instruction: Question, input: Input, output: Answer}"),
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


@pytest.mark.parametrize(
    ("key", "is_said"),
    [("Context", True), ("Input", True), ("passage", True), ("author", False)],
)
def test_a_key_that_is_not_read_and_may_be_the_input_is_said(key: str, is_said: bool) -> None:
    found = read(lines(*[{"instruction": "a", "output": "b", key: "c"}] * 3))
    said = [line for line in source.described(found) if "input" in line]
    assert said == is_said * [
        f"no row has an input: rename {key!r} to input, if the model is to see it",
        f"the same without a change of the file: set input: {key} in the section download.data.fields of params.yaml, "
        f"or --set download.data.fields.input={key}",
    ]


def test_another_key_than_input_that_was_chosen_for_it_is_left_so() -> None:
    rows = lines(*[{"instruction": "a", "output": "b", "input": "c", "note": ""}] * 3)
    assert not any("rename" in line for line in source.described(read(rows, fields={"input": "note"})))


def test_what_is_given_already_stays_in_a_proposal() -> None:
    rows = [{"Question": str(number), "Answer": "b", "note": "c", "part": "train"} for number in range(3)]
    given = {"input": "note", "split": "part"}
    whole = "{instruction: Question, input: note, output: Answer, split: part}"
    assert mapping_of(refused(lines(*rows), fields=given)) == yaml.safe_load(whole)
    assert mapping_of(refused(lines(*rows), fields={**given, "output": "Answr"})) == yaml.safe_load(whole)
    assert mapping_of(refused(lines(*rows), fields={**given, "split": "prt"})) == yaml.safe_load(whole)
    unlike = [{"Frage": "a", "Antwort": "b", "part": "train"}] * 3
    assert mapping_of(refused(lines(*unlike), fields={"output": "Antwort", "split": "part"})) == {
        "instruction": "Frage",
        "output": "Antwort",
        "split": "part",
    }


def test_two_mistyped_keys_are_not_taken_for_the_same_one() -> None:
    rows = lines(*[{"question": "a", "questions": "b"}] * 3)
    error = refused(rows, fields={"instruction": "qestion", "output": "qestions"})
    assert mapping_of(error) == {"instruction": "question", "output": "questions"}
    rows = lines(*[{"question": "a", "reply": "b"}] * 3)
    assert mapping_of(refused(rows, fields={"input": "repli"})) == {"instruction": "question", "input": "reply"}


def test_the_key_of_the_split_may_be_that_of_the_category() -> None:
    rows = lines(*[{"instruction": "a", "output": "b", "part": "train"}] * 3)
    for fields in ({"category": "part", "split": "prt"}, {"category": "prt", "split": "part"}):
        assert mapping_of(refused(rows, fields=fields)) == {"category": "part", "split": "part"}


def test_a_column_without_a_name_is_in_no_example() -> None:
    assert mapping_of(refused(",Frage,Antwort\n0,a,b\n", "rows.csv")) == {"instruction": "Frage", "output": "Antwort"}
    assert mapping_of(refused("Frage\na\n", "rows.csv")) == {"instruction": "Frage", "output": "OUTPUT_KEY"}
    assert mapping_of(refused(lines(*[{"text": "a"}] * 3))) == {"instruction": "INSTRUCTION_KEY", "output": "text"}


keys = st.sampled_from(
    (
        *("", "instruction", "Instruction", "instructions", "input", "Input", "INPUT", "output", "Output", "out put"),
        *("category", "Category", "split", "question", "Question", "questions", "context", "text", "Text", "answer"),
        *("a", "A", "q", "topic", "Topic", "Frage", "messages", "KEY", "no"),
    )
)


@settings(deadline=None)
@given(
    st.lists(keys, unique=True, min_size=1, max_size=8),
    st.dictionaries(st.sampled_from(("instruction", "input", "output", "category", "split")), keys.filter(bool)),
)
def test_every_proposal_can_be_pasted(columns: list[str], fields: dict[str, str]) -> None:
    """It is a mapping that params.yaml may hold, and it keeps each given key that the rows have."""
    try:
        DataFields.model_validate(fields)
    except ValueError:
        return
    rows = [dict.fromkeys(columns, "ab"[number % 2]) for number in range(6)]
    try:
        read(lines(*rows), fields=fields)
    except (ConfigError, DataError) as error:
        if "--set" not in str(error.fix):
            return
        proposed = mapping_of(error)
        DataFields.model_validate(proposed)
        assert {ours: key for ours, key in fields.items() if key in columns}.items() <= proposed.items()
