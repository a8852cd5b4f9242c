"""Draft tokens by prompt lookup, and the answers of speculative decoding."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.gpt2 import decoding, weights
from stages.gpt2.model import GPT2Config
from stages.gpt2.prompt_lookup import FEWEST, LONGEST_PAUSE, MOST, PAUSE, PromptLookup
from stages.gpt2.sampling import Sampling

SIZES = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=64, vocab_size=40)


@pytest.mark.parametrize(
    ("ids", "most", "expected"),
    [
        # After 5, 6 came 7, 8, 5, 6; then the draft repeats itself.
        ([5, 6, 7, 8, 5, 6], 3, [7, 8, 5]),
        ([5, 6, 7, 8, 5, 6], 7, [7, 8, 5, 6, 7, 8, 5]),
        # The last of two occurrences counts.
        ([1, 2, 3, 1, 2, 4, 1, 2], 1, [4]),
        ([9, 9, 9], 4, [9, 9, 9, 9]),
        ([9, 9], 4, []),
        ([1, 2, 3], 4, []),
        ([1], 4, []),
        ([5, 6, 7, 8, 5, 6], 100, [7, 8, 5, 6, 7, 8, 5]),
    ],
)
def test_what_followed_the_last_time_is_drafted(ids, most, expected):
    assert PromptLookup().draft(ids, most) == expected


def test_drafts_grow_while_all_is_accepted_and_pause_where_nothing_is():
    ids = [9] * 3
    lookup = PromptLookup()
    for length in (FEWEST, 15, MOST, MOST):
        assert lookup.draft(ids, 99) == [9] * length
        lookup.verified(length, length)
    lookup.verified(MOST, 3)
    assert len(lookup.draft(ids, 99)) == FEWEST
    for pause in (PAUSE, 2 * PAUSE, 4 * PAUSE, 8 * PAUSE, LONGEST_PAUSE, LONGEST_PAUSE):
        lookup.verified(FEWEST, 0)
        assert [lookup.draft(ids, 99) for _ in range(pause)] == [[]] * pause
        assert lookup.draft(ids, 99) == [9] * FEWEST
    lookup.verified(FEWEST, 1)
    lookup.verified(FEWEST, 0)
    assert [bool(lookup.draft(ids, 99)) for _ in range(PAUSE + 1)] == [False] * PAUSE + [True]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.integers(1, 9))
def test_a_draft_is_what_a_search_from_the_end_finds(ids, most):
    found = [index for index in range(2, len(ids)) if ids[index - 2 : index] == ids[-2:]]
    expected: list[int] = []
    if found:
        for number in range(min(most, FEWEST)):
            expected.append([*ids, *expected][found[-1] + number])

    lookup = PromptLookup()
    for length in range(1, len(ids)):  # read bit by bit
        lookup.draft(ids[:length], most)
    assert lookup.draft(ids, most) == expected


@pytest.fixture(params=[0.3, 1.0, 3.0])
def model(request):
    """Random weights: the smaller, the more they repeat themselves."""
    made = weights.initialise(SIZES, seed=2)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(request.param)
    return decoding.prepare(made)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize("end_of_text", [-1, 7])
def test_answers_are_those_of_a_token_a_step(model, batch_size, end_of_text, monkeypatch):
    generator = torch.Generator().manual_seed(4)
    prompts = [torch.randint(40, (length,), generator=generator).tolist() for length in (1, 2, 9, 30, 55, 63, 64)]
    # The longest answer is left alone at the end.
    how = decoding.Decoding(end_of_text, [5, 50, 3, 4, 5, 1, 1], batch_size)
    several = decoding.decode_several
    passes = []
    monkeypatch.setattr(decoding, "decode_several", lambda *given: passes.append(given[2]) or several(*given))

    found = list(decoding.tokens(model, prompts, how))

    assert passes
    count = len(passes)
    expected = list(decoding.tokens(model, prompts, dataclasses.replace(how, speculative=False)))
    assert len(passes) == count
    assert found == expected
    assert max(map(len, passes)) > FEWEST + 1, "some were accepted"


def test_what_is_drawn_is_not_drafted(model, monkeypatch):
    monkeypatch.setattr(decoding, "decode_several", None)
    drawn = decoding.Decoding(-1, max_new_tokens=20, batch_size=1, sampling=Sampling(temperature=0.1))

    assert list(decoding.tokens(model, [[3, 3, 3, 3]], drawn, seeds=[1]))
