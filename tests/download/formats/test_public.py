"""Public formats of instruction data, five rows of each: read without a setting, or with the mapping that is proposed.

The files follow the documentation of each dataset; their texts are made for this test.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.download import source
from tests.download.formats.reading import read, refused, row

FILES = Path(__file__).parent / "public"

OPPOSITE = ("Name the opposite of this word.", "cold", "The opposite of cold is hot.", "antonyms")
SPIDER = ("How many legs does a spider have?", "", "A spider has eight legs.", "animals")
PAST = ("Write the sentence in the past tense.", "She walks to school.", "She walked to school.", "grammar")
GREEN = ("Which colour do blue and yellow make?", "", "Blue and yellow make green.", "colours")
SORTED = ("Sort these numbers.", "3, 1, 2", "1, 2, 3", "sorting")
TEXTS = (OPPOSITE, SPIDER, PAST, GREEN, SORTED)

WHOLE = [row(asked, answer, about) for asked, about, answer, _ in TEXTS]
LABELLED = [row(asked, answer, about, label) for asked, about, answer, label in TEXTS]
JOINED = [row(f"{asked}\n{about}" if about else asked, answer) for asked, about, answer, _ in TEXTS]
JOINED_LABELLED = [one | {"category": label} for one, (*_, label) in zip(JOINED, TEXTS, strict=True)]
AGAIN = row(
    "Say it again.",
    "The opposite of cold is hot.",
    "User: Name the opposite of this word.\ncold\nAssistant: The opposite of cold is hot.",
)
SHORT = [one | {"input": "System: Answer in one sentence."} for one in JOINED[:2]] + JOINED[2:]
INSECT = row(
    "And an insect?",
    "An insect has six legs.",
    "User: How many legs does a spider have?\nAssistant: A spider has eight legs.",
)

#: What each file is read as, and the mapping that it needs.
EXPECTED = {
    "alpaca.json": (WHOLE, None),
    "alpaca-cleaned.json": (WHOLE[::-1], None),
    "dolly-15k.jsonl": (LABELLED, None),
    "sharegpt.json": ([JOINED[0], AGAIN, *JOINED[1:]], None),
    "openai-messages.jsonl": (SHORT, None),
    "self-instruct.jsonl": (JOINED, None),
    "self-instruct-seeds.jsonl": (WHOLE, None),
    "oasst-flat.jsonl": ([*JOINED[:2], INSECT, *JOINED[2:]], None),
    "no-robots.jsonl": (JOINED_LABELLED, None),
    "lima.jsonl": (JOINED, None),
    "wizardlm.json": (JOINED, None),
    "questions.csv": (JOINED, {"instruction": "question", "output": "answer"}),
    "flan.jsonl": (JOINED, {"instruction": "inputs", "output": "targets"}),
    "prompts.tsv": (JOINED_LABELLED, {"instruction": "Prompt", "output": "Response", "category": "Category"}),
    "instruction-response.json": (JOINED, {"output": "response"}),
}


def test_every_file_is_tested() -> None:
    assert {path.name for path in FILES.iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_public_format_is_read_at_once_or_with_what_the_message_proposes(name: str) -> None:
    expected, mapping = EXPECTED[name]
    content = (FILES / name).read_bytes()
    settings = {}
    if mapping is not None:
        fix = refused(content, name).fix
        assert fix is not None
        found = re.search(r" --set 'download\.data\.fields=(\{.*\})'$", fix)
        assert found
        settings = {"fields": dict(YAML(typ="safe").load(found[1]))}
        assert settings["fields"] == mapping
    assert read(content, name, **settings).rows == expected


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "dolly-15k.jsonl",
            "JSON lines, 5 rows, keys 'instruction', 'context', 'response', 'category'; "
            "input from 'context', output from 'response'",
        ),
        (
            "openai-messages.jsonl",
            "JSON lines, 5 rows, keys 'messages'; "
            "a row for each answer in 'messages', with what was said before as its input",
        ),
        ("self-instruct.jsonl", "JSON lines, 5 rows, keys 'prompt', 'completion'; instruction from 'prompt', "),
    ],
)
def test_what_is_recognised_is_said_in_a_line(name: str, said: str) -> None:
    [first, *_] = source.described(read((FILES / name).read_bytes(), name))
    assert first.startswith(said)


def test_of_plain_json_in_our_own_fields_nothing_is_said() -> None:
    for content in ((FILES / "alpaca.json").read_bytes(), b"\n".join(json.dumps(one).encode() for one in WHOLE)):
        assert list(source.described(read(content, "rows.json"))) == []
