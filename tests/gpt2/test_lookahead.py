"""Guesses at how a row goes on, and answers that rest on them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.gpt2 import decoding, weights
from stages.gpt2.lookahead import FEWEST, LONGEST_REST, MOST, REST, Lookahead
from stages.gpt2.model import GPT2Config

SIZES = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=64, vocab_size=40)


@pytest.mark.parametrize(
    ("ids", "most", "expected"),
    [
        # After 5, 6 came 7, 8, 5, 6; then what was guessed goes on with itself.
        ([5, 6, 7, 8, 5, 6], 3, [7, 8, 5]),
        ([5, 6, 7, 8, 5, 6], 7, [7, 8, 5, 6, 7, 8, 5]),
        # The newest of two places counts.
        ([1, 2, 3, 1, 2, 4, 1, 2], 1, [4]),
        ([9, 9, 9], 4, [9, 9, 9, 9]),
        ([9, 9], 4, []),
        ([1, 2, 3], 4, []),
        ([1], 4, []),
        ([5, 6, 7, 8, 5, 6], 100, [7, 8, 5, 6, 7, 8, 5]),
    ],
)
def test_what_followed_the_last_time_is_guessed(ids, most, expected):
    assert Lookahead().guess(ids, most) == expected


def test_guesses_grow_while_they_are_right_and_rest_where_none_is():
    ids = [9] * 3
    lookahead = Lookahead()
    for length in (FEWEST, 15, MOST, MOST):
        assert lookahead.guess(ids, 99) == [9] * length
        lookahead.told(length, length)
    lookahead.told(MOST, 3)
    assert len(lookahead.guess(ids, 99)) == FEWEST
    for rest in (REST, 2 * REST, 4 * REST, 8 * REST, LONGEST_REST, LONGEST_REST):
        lookahead.told(FEWEST, 0)
        assert [lookahead.guess(ids, 99) for _ in range(rest)] == [[]] * rest
        assert lookahead.guess(ids, 99) == [9] * FEWEST
    lookahead.told(FEWEST, 1)
    lookahead.told(FEWEST, 0)
    assert [bool(lookahead.guess(ids, 99)) for _ in range(REST + 1)] == [False] * REST + [True]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.integers(1, 9))
def test_a_guess_is_what_a_search_from_the_end_finds(ids, most):
    found = [place for place in range(2, len(ids)) if ids[place - 2 : place] == ids[-2:]]
    expected: list[int] = []
    if found:
        for number in range(min(most, FEWEST)):
            expected.append([*ids, *expected][found[-1] + number])

    lookahead = Lookahead()
    for length in range(1, len(ids)):  # read bit by bit
        lookahead.guess(ids[:length], most)
    assert lookahead.guess(ids, most) == expected


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
    about = {"max_new_tokens": [5, 50, 3, 4, 5, 1, 1], "end_of_text": end_of_text, "batch_size": batch_size}
    several = decoding.decode_several
    passes = []
    monkeypatch.setattr(decoding, "decode_several", lambda *given: passes.append(given[2]) or several(*given))

    found = list(decoding.tokens(model, prompts, **about))

    assert passes
    count = len(passes)
    expected = list(decoding.tokens(model, prompts, **about, lookahead=False))
    assert len(passes) == count
    assert found == expected
    assert max(map(len, passes)) > FEWEST + 1, "some were right"


def test_what_is_drawn_is_not_guessed(model, monkeypatch):
    monkeypatch.setattr(decoding, "decode_several", None)
    drawn = decoding.Sampling(temperature=0.1)

    about = {"max_new_tokens": 20, "end_of_text": -1, "batch_size": 1}
    assert list(decoding.tokens(model, [[3, 3, 3, 3]], **about, sampling=drawn, seeds=[1]))
