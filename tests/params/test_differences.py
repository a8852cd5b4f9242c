"""Two trees of params.yaml beside each other."""

from __future__ import annotations

import pytest

from stages.params.differences import ABSENT, differences, shown


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
