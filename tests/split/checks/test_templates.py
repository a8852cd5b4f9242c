"""Templates, worked out by hand."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.metrics.gate import Template
from stages.split.checks import templates
from stages.split.checks.templates import Prompts, Templates, most_frequent

NUMBERS = [("is", number, "greater", "than", "it", "is") for number in "12345"]
OTHER = ("greater", "than", "all")


def test_three_words_that_five_prompts_share_are_a_template() -> None:
    found = Templates(Prompts([*NUMBERS, OTHER]))

    assert found.rest(0) == ["is", "1"]
    assert found.skeleton(0) == "… greater than it is"
    assert found.rest(5) == ["greater", "than", "all"]
    assert found.skeleton(5) == ""
    assert Templates(Prompts(NUMBERS[:4])).rest(0) == list(NUMBERS[0])


def test_a_template_may_have_three_words_alone() -> None:
    found = Templates(Prompts([("name", "a", "tree", number) for number in "12345"]))

    assert (found.rest(0), found.skeleton(0)) == (["1"], "name a tree …")


def test_a_run_of_other_words_is_one_gap() -> None:
    found = Templates(Prompts([*NUMBERS, ("so", "so", "greater", "than", "it", "is", "so", "so", "so")]))

    assert found.skeleton(5) == "… greater than it is …"


def test_words_that_a_prompt_repeats_count_once() -> None:
    assert Templates(Prompts([("a", "b", "c") * 9])).rest(0) == ["a", "b", "c"] * 9
    assert Templates(Prompts([("a", "b", "c") * 99] * 4)).rest(0) == ["a", "b", "c"] * 99


def test_a_prompt_that_begins_with_a_template_counts_beside_the_one_before_it() -> None:
    one, other = ("x", "a", "b", "c"), ("a", "b", "c")
    assert Templates(Prompts([one, other, ("y",), other, ("y",), other, ("y",), other])).rest(0) == ["x"]


def test_of_too_many_words_the_most_frequent_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "_BITS", 2)  # so that four words are
    fewer, more = ("a", "b", "c"), ("d", "d", "d", "e", "e", "e", "f", "f")

    found = Templates(Prompts([*[fewer] * 5, *[more] * 6]))

    assert found.skeleton(5) == "d d d e e e f f"
    assert found.skeleton(0) == ""  # of its words "a" alone is among the four


def test_words_of_two_prompts_make_no_window() -> None:
    """The second words of one prompt and the first of the next are neighbours in memory alone."""
    assert Templates(Prompts([("a", "b"), ("c",), ()] * 9)).rest(0) == ["a", "b"]
    assert Templates(Prompts([("a",), ("b", "c"), *[("a", "b", "c")] * 4])).rest(2) == ["a", "b", "c"]


def test_prompts_without_words_have_no_template() -> None:
    found = Templates(Prompts([(), ()]))

    assert (found.rest(1), found.skeleton(1)) == ([], "")


@given(
    prompts=st.lists(st.lists(st.sampled_from("aaabbc"), max_size=7).map(tuple), max_size=40), parts=st.integers(1, 9)
)
def test_the_template_is_that_of_a_count_of_all_windows(prompts: list[tuple[str, ...]], parts: int) -> None:
    """However few windows are sorted at a time."""

    def windows(words: tuple[str, ...]) -> list[tuple[str, ...]]:
        return [words[start : start + 3] for start in range(len(words) - 2)]

    counts = Counter(window for words in prompts for window in set(windows(words)))
    expected = []
    for words in prompts:
        covered = {at + more for at, window in enumerate(windows(words)) if counts[window] >= 5 for more in range(3)}
        expected.append([word for at, word in enumerate(words) if at not in covered])

    at_a_time, templates._AT_A_TIME = templates._AT_A_TIME, parts
    try:
        found = Templates(Prompts(prompts))
    finally:
        templates._AT_A_TIME = at_a_time
    assert [found.rest(number) for number in range(len(prompts))] == expected


def test_the_most_frequent_templates() -> None:
    skeletons = [*[0] * 6, *[6] * 7, *[13] * 4, *[-1] * 9]
    texts = {0: "a …", 6: "b …", 13: "c …"}

    assert most_frequent(skeletons, texts.__getitem__, 9) == [
        Template(text="b …", rows=7),
        Template(text="a …", rows=6),
    ]
    assert most_frequent(skeletons, texts.__getitem__, 1) == [Template(text="b …", rows=7)]
    assert most_frequent([-1, -1], texts.__getitem__, 9) == []


def test_of_equally_frequent_templates_the_first_of_the_alphabet_is_shown() -> None:
    texts = {0: "b …", 5: "a …"}
    assert most_frequent([0] * 5 + [5] * 5, texts.__getitem__, 1) == [Template(text="a …", rows=5)]
