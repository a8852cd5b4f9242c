"""Templates, worked out by hand."""

from __future__ import annotations

from stages.common.metrics.gate import Template
from stages.split.checks.templates import Templates, most_frequent

NUMBERS = [("is", number, "greater", "than", "it", "is") for number in "12345"]


def test_three_words_that_five_prompts_share_are_a_template() -> None:
    templates = Templates([*NUMBERS, ("greater", "than", "all")])

    assert templates.rest(NUMBERS[0]) == ["is", "1"]
    assert templates.skeleton(NUMBERS[0]) == "… greater than it is"
    assert templates.rest(("greater", "than", "all")) == ["greater", "than", "all"]
    assert templates.skeleton(("greater", "than", "all")) == ""
    assert Templates(NUMBERS[:4]).rest(NUMBERS[0]) == list(NUMBERS[0])


def test_words_that_a_prompt_repeats_count_once() -> None:
    assert Templates([("a", "b", "c") * 9]).rest(("a", "b", "c")) == ["a", "b", "c"]


def test_the_most_frequent_templates() -> None:
    skeletons = [*["a …"] * 6, *["b …"] * 7, *["c …"] * 4, *[""] * 9]

    assert most_frequent(skeletons, 9) == [Template(text="b …", rows=7), Template(text="a …", rows=6)]
    assert most_frequent(skeletons, 1) == [Template(text="b …", rows=7)]
