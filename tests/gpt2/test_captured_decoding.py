"""Captured decoding steps, on tapes that stand in for CUDA graphs."""

from __future__ import annotations

import pytest
import torch

from stages.gpt2 import decoding, graphs, inference, kv_cache, weights
from stages.gpt2.model import GPT2Config
from stages.gpt2.sampling import Sampling
from tests.tapes import Tapes

SIZES = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=64, vocab_size=40)
generator = torch.Generator().manual_seed(3)
PROMPTS = [
    [7, 7, 7, *torch.randint(40, (int(length),), generator=generator).tolist()]
    for length in torch.randint(1, 30, (23,), generator=generator)
]


def answers(model, *, prompts=PROMPTS, sampling=None, most=20, batch_size=6):
    how = decoding.Decoding(0, most, batch_size, sampling)
    return dict(decoding.generate(model, prompts, how, range(len(prompts))))


@pytest.fixture
def tapes(monkeypatch):
    made = Tapes()
    monkeypatch.setattr(graphs, "runner", lambda _: made)
    return made


@pytest.fixture
def model():
    made = weights.initialise(SIZES, seed=1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3.0)  # so that answers differ from one another
    return decoding.prepare(made)


@pytest.mark.parametrize("growth", [4, 16, 64])
@pytest.mark.parametrize("batch_size", [1, 5, 6, 64])
@pytest.mark.parametrize("sampling", [None, Sampling(temperature=0.8, top_p=0.9)])
def test_answers_by_replay_are_the_eager_ones(growth, batch_size, sampling, model, tapes, monkeypatch):
    monkeypatch.setattr(kv_cache, "GROWTH", growth)
    found = answers(model, sampling=sampling, batch_size=batch_size)

    assert tapes.done.count("replayed") > tapes.done.count("eager")
    monkeypatch.undo()
    assert found == answers(model, sampling=sampling, batch_size=batch_size)
    assert len({tuple(answer.ids) for answer in found.values()}) > len(PROMPTS) / 2


def test_rows_are_captured_by_powers_of_two(model, tapes):
    answers(model, prompts=[[5] * length for length in range(1, 12)], batch_size=11)

    # 11 slots: of 16, 8, 4, 2 and 1 rows the first do not fit, and 11 are taken instead.
    assert 1 <= tapes.done.count("captured") <= 2 * 5


def test_what_cannot_be_captured_is_warned_of_once_and_runs_eagerly(model, tapes, monkeypatch):
    expected = answers(model)
    hidden = inference.Network.hidden
    monkeypatch.setattr(
        inference.Network, "hidden", lambda *given: hidden(*given).nan_to_num(float(given[1].max().item()))
    )
    tapes.done.clear()

    with pytest.warns(UserWarning, match="decoding steps are not captured as CUDA graphs, and take longer") as told:
        found = answers(model)

    assert len(told) == 1
    assert "replayed" not in tapes.done
    assert found == expected
