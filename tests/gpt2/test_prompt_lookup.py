"""Draft tokens by prompt lookup, and the answers of speculative decoding."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.gpt2 import decoding, weights
from stages.gpt2.model import GPT2Config
from stages.gpt2.prompt_lookup import FEWEST, MOST, PromptLookup
from stages.gpt2.sampling import Sampling

SIZES = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=64, vocab_size=40)


def drafts(lookup: PromptLookup, ids: list[int], most: int = 99) -> list[list[int]]:
    """The drafts of a row that comes token by token."""
    return [lookup.draft(ids[:length], most) for length in range(1, len(ids) + 1)]


@pytest.mark.parametrize(
    ("ids", "most", "expected"),
    [
        # After 5, 6 came 7, 8, 5, 6; then four tokens came as expected. The draft goes on so, and repeats itself.
        ([5, 6, 7, 8, 5, 6, 7, 8, 5, 6], 3, [7, 8, 5]),
        ([5, 6, 7, 8, 5, 6, 7, 8, 5, 6], 7, [7, 8, 5, 6, 7, 8, 5]),
        ([5, 6, 7, 8, 5, 6, 7, 8, 5, 6], 100, [7, 8, 5, 6, 7, 8, 5]),
        # One token less has come.
        ([5, 6, 7, 8, 5, 6, 7, 8, 5], 7, []),
        # The fourth is another one.
        ([5, 6, 7, 8, 5, 6, 7, 8, 5, 9], 7, []),
        # The first three 9 predict a fourth to a seventh.
        ([9] * 7, 4, [9, 9, 9, 9]),
        ([9] * 6, 4, []),
        ([1, 2, 3], 4, []),
        ([1], 4, []),
    ],
)
def test_a_row_that_has_repeated_itself_is_drafted(ids, most, expected):
    assert drafts(PromptLookup(), ids, most)[-1] == expected


def repeating() -> PromptLookup:
    """A row of nines that has come as expected."""
    lookup = PromptLookup()
    assert drafts(lookup, [9] * 7)[-1] == [9] * FEWEST
    return lookup


def test_drafts_grow_while_all_is_accepted():
    lookup = repeating()
    for length in (FEWEST, 15, MOST, MOST):
        assert lookup.draft([9] * 7, 99) == [9] * length
        lookup.verified(length, length)
    lookup.verified(MOST, 3)  # as many as a pass is worth
    assert lookup.draft([9] * 7, 99) == [9] * FEWEST


def test_after_a_pass_that_was_not_worth_it_twice_as_many_tokens_have_to_come():
    lookup, length = repeating(), 7
    for needed in (8, 16, 32, 64, 64):
        lookup.verified(FEWEST, 2)
        found = [len(lookup.draft([9] * (length + more), 99)) for more in range(1, needed + 2)]
        assert found == [0] * needed + [FEWEST]
        length += needed + 1
    lookup.verified(FEWEST, 4)
    lookup.verified(FEWEST, 0)
    found = [len(lookup.draft([9] * (length + more), 99)) for more in range(1, 10)]
    assert found == [0] * 8 + [FEWEST], "after one that was, it is as at first"


def test_a_short_draft_is_worth_it_where_all_of_it_is_accepted():
    lookup = repeating()
    assert lookup.draft([9] * 7, 2) == [9, 9]
    lookup.verified(2, 2)
    assert lookup.draft([9] * 9, 99) == [9] * 15


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.integers(1, 9))
def test_a_draft_is_what_a_search_from_the_end_finds(ids, most):
    for length, draft in enumerate(drafts(PromptLookup(), ids, most), 1):
        known = ids[:length]
        assert len(draft) in (0, min(most, FEWEST))
        if draft:
            last = max(index for index in range(2, length) if known[index - 2 : index] == known[-2:])
            expected = list(known)
            for number in range(len(draft)):
                expected.append(expected[last + number])
            assert draft == expected[length:]


#: Steps that a pass of so many tokens takes: the most that was measured (docs/decisions.md).
STEPS = {8: 2.3, 16: 2.9, 32: 4.1}


def steps(answer: list[int]) -> float:
    """What a row costs that is decoded speculatively, in steps of one token."""
    lookup, cost, done = PromptLookup(), 0.0, 2
    while done < len(answer):
        draft = lookup.draft(answer[:done], len(answer) - done - 1)
        rest = answer[done : done + len(draft)]
        accepted = next((at for at, (a, b) in enumerate(zip(draft, rest, strict=True)) if a != b), len(draft))
        if draft:
            lookup.verified(len(draft), accepted)
        cost += next(price for tokens, price in STEPS.items() if len(draft) < tokens) if draft else 1.0
        done += accepted + 1
    return cost


@given(st.lists(st.integers(0, 3), min_size=3, max_size=200))
def test_no_row_takes_much_longer_than_with_a_token_a_step(answer):
    assert steps(answer) <= 1.35 * (len(answer) - 2)


def test_a_row_that_repeats_itself_takes_a_fraction_and_one_that_does_not_as_long():
    assert steps([1, 2, 3, 4] * 64) < 0.25 * 254
    assert steps(list(range(256))) == 254
    # As an answer does that takes pairs of words from its instruction.
    assert steps([number % 7 if number % 3 else 1000 + number for number in range(256)]) == 254


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
