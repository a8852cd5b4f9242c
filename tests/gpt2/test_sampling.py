"""The next token from the logits: worked by hand, and against transformers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.gpt2 import sampling
from stages.gpt2.sampling import Sampling


def test_of_equally_likely_tokens_the_lowest_id_is_taken():
    assert sampling.most_likely(torch.tensor([[0.0, 2.0, 2.0], [1.0, 1.0, 0.0]])).tolist() == [1, 0]
    # As wide as a vocabulary, where bf16 has many equals.
    wide = torch.randn(2, 50257, generator=torch.Generator().manual_seed(1)).bfloat16()
    wide[0, 40_000::3] = wide[1, 777::5] = 6
    assert sampling.most_likely(wide).tolist() == [40_000, 777]
    assert sampling.most_likely(torch.zeros_like(wide)).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_is_chosen_from_logits_that_are_no_numbers(dtype):
    """In a vocabulary as wide as GPT-2's; minus infinity is a token that never follows."""
    logits = torch.zeros(5, 50257, dtype=dtype)
    logits[0, 40_000] = torch.nan
    logits[1, 40_000] = torch.inf
    logits[2, :40_000], logits[2, 40_001:] = -torch.inf, -torch.inf
    logits[3] = -torch.inf
    logits[4, 1:] = -torch.inf

    assert sampling.most_likely(logits).tolist() == [-1, -1, 40_000, -1, 0]
    draws = torch.full((5,), 0.5)
    for how in (Sampling(0.7), Sampling(0.7, top_k=3), Sampling(0.7, top_p=0.5), Sampling(0.7, 3, 0.5)):
        assert sampling.sample(logits, draws, how).tolist() == [-1, -1, 40_000, -1, 0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0.0,), "temperature: expected a number above 0, found 0"),
        ((float("nan"),), "temperature: expected a number above 0, found nan"),
        ((float("inf"),), "temperature: expected a number above 0, found inf"),
        ((1.0, 0), "top_k: expected at least 1, found 0"),
        ((1.0, None, 0.0), "top_p: expected a number above 0 and at most 1, found 0"),
        ((1.0, None, 1.5), "top_p: expected a number above 0 and at most 1, found 1.5"),
    ],
)
def test_sampling_out_of_range_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Sampling(*values)


def test_a_draw_is_looked_up_in_the_distribution_function():
    logits = torch.tensor([[0.2, 0.3, 0.5]]).log().expand(6, 3)
    draws = torch.tensor([0.0, 0.19, 0.21, 0.4, 0.51, 1 - 2**-24])

    assert sampling.sample(logits, draws, Sampling(1.0)).tolist() == [0, 0, 1, 1, 2, 2]
    # Token 0 is not among the two likeliest; .3 and .5 become .375 and .625.
    assert sampling.sample(logits, draws, Sampling(1.0, top_k=2)).tolist() == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (Sampling(1.0), [0.1, 0.2, 0.3, 0.4]),
        (Sampling(0.5), [1 / 30, 4 / 30, 9 / 30, 16 / 30]),
        (Sampling(1.0, top_k=2), [0, 0, 3 / 7, 4 / 7]),
        (Sampling(1.0, top_p=0.6), [0, 0, 3 / 7, 4 / 7]),
        (Sampling(1.0, top_p=0.3), [0, 0, 0, 1]),
        (Sampling(1.0, top_k=3, top_p=0.7), [0, 0, 3 / 7, 4 / 7]),
    ],
)
def test_probabilities_worked_by_hand(chosen, expected):
    found = sampling.probabilities(torch.tensor([[0.1, 0.2, 0.3, 0.4]], dtype=torch.float64).log(), chosen)

    assert found[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("top_k", [None, 1, 7, 50])
@pytest.mark.parametrize("top_p", [None, 0.5, 0.9])
def test_probabilities_equal_transformers(top_k, top_p):
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    logits = torch.randn(5, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3
    theirs = TemperatureLogitsWarper(0.7)(None, logits)
    if top_k:
        theirs = TopKLogitsWarper(top_k)(None, theirs)
    if top_p:
        theirs = TopPLogitsWarper(top_p)(None, theirs)

    torch.testing.assert_close(
        sampling.probabilities(logits, Sampling(0.7, top_k, top_p)), theirs.softmax(-1), rtol=1e-9, atol=1e-12
    )


@given(
    logits=st.lists(st.floats(-(2.0**127), 2.0**127, width=32), min_size=1, max_size=8),
    temperature=st.floats(5e-324, 1e-6),
    draw=st.integers(0, 2**24 - 1),
    top_k=st.none() | st.integers(1, 9),
    top_p=st.none() | st.floats(1e-3, 1),
)
def test_a_tiny_temperature_draws_one_of_the_likeliest_tokens(logits, temperature, draw, top_k, top_p):
    row = torch.tensor([logits])
    [found] = sampling.sample(row, torch.tensor([draw / 2**24]), Sampling(temperature, top_k, top_p)).tolist()

    # A logit that is so far below the largest has a probability of less than 1e-300.
    assert row[0, found].double() >= row.max().double() - 700 * temperature


@pytest.mark.parametrize("temperature", [1e-6, 1e-100, 1e-306, 1e-307, 1e-310, 5e-324])
def test_a_tiny_temperature_decodes_greedily(temperature):
    logits = torch.tensor([[-30.0, -80.0, -120.0, 20.0], [-103.0, -102.0, -104.0, -110.0]])

    assert sampling.sample(logits, torch.tensor([0.4, 0.99]), Sampling(temperature)).tolist() == [3, 1]


def test_tokens_that_reach_top_p_exactly_are_enough():
    """Four equal logits have a probability of 1/4 each, to the last bit: of 1/2 the first two, and no third."""
    equal = torch.zeros(1, 4)

    assert sampling.probabilities(equal, Sampling(1.0, top_p=0.5)).tolist() == [[0.5, 0.5, 0, 0]]
    assert sampling.probabilities(equal, Sampling(1.0, top_p=0.25)).tolist() == [[1, 0, 0, 0]]
    three = sampling.probabilities(equal, Sampling(1.0, top_p=0.51))
    assert three[0].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])


def test_a_top_p_of_1_leaves_every_token():
    assert sampling.probabilities(torch.zeros(1, 4), Sampling(1.0, top_p=1.0)).tolist() == [[0.25, 0.25, 0.25, 0.25]]


def test_of_equals_at_the_edge_of_top_p_the_lowest_ids_stay_in_a_wide_vocabulary_too():
    found = sampling.probabilities(torch.zeros(1, 50_000), Sampling(1.0, top_p=0.1))

    assert found[0, :4_990].min() > 0
    assert found[0, 5_010:].max() == 0
