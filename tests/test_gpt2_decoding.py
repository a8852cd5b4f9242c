"""Generation: equal to transformers', whatever the batch; and how an answer ends."""

from __future__ import annotations

import pytest
import torch

from stages.gpt2 import decoding, weights
from stages.gpt2.model import GPT2, GPT2Config

TINY = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=24, vocab_size=23)
END = 22
#: Lengths differ, and some prompts hold the end-of-text id, which is also what others pad with.
PROMPTS = [[1, 2, 3], [END, 4], [5], [6, 7, 8, 9, END, 10], [11, 12, 13, 14], [0, 0], [15, 16, 17, 18, 19, 20, 21]]


@pytest.fixture(scope="module")
def model() -> GPT2:
    made = weights.initialise(TINY, seed=3)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return made


def answers(model: GPT2, prompts=PROMPTS, *, max_new_tokens=12, batch_size=64, end=END) -> list[decoding.Answer]:
    made = dict(
        decoding.generate(model, prompts, max_new_tokens=max_new_tokens, end_of_text=end, batch_size=batch_size)
    )
    assert sorted(made) == list(range(len(prompts)))
    return [made[index] for index in range(len(prompts))]


def plainly(model: GPT2, prompt: list[int], max_new_tokens: int, end: int) -> list[int]:
    """The book's way: the whole sequence through the network again for every token, one row at a time."""
    ids = list(prompt)
    while len(ids) < len(prompt) + max_new_tokens:
        with torch.inference_mode():
            ids.append(int(model.logits(model(torch.tensor([ids])))[0, -1].argmax()))
        if ids[-1] == end:
            break
    return ids[len(prompt) :]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_cached_answers_equal_uncached_ones_for_every_batch_size(model, batch_size):
    expected = [plainly(model, prompt, 12, END) for prompt in PROMPTS]

    assert [answer.ids for answer in answers(model, batch_size=batch_size)] == expected
    assert len({tuple(ids) for ids in expected}) > 3, "the random model must not say the same to everyone"


def test_answers_do_not_depend_on_the_order_of_prompts(model):
    forward = answers(model)
    backward = answers(model, PROMPTS[::-1])

    assert forward == backward[::-1]


def test_answers_equal_transformers(model, tmp_path):
    from transformers import GPT2LMHeadModel

    weights.save(model, tmp_path)
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    for prompt, answer in zip(PROMPTS, answers(model), strict=True):
        generated = theirs.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=END,
            pad_token_id=END,
        )
        assert generated[0, len(prompt) :].tolist() == answer.ids


def test_rows_that_end_early_leave_the_others_alone(model):
    # Every id that some answer contains is taken for the end in turn, so that rows end at many different steps.
    for end in sorted({token for answer in answers(model, end=-1) for token in answer.ids}):
        found = answers(model, end=end)
        assert [answer.ids for answer in found] == [plainly(model, prompt, 12, end) for prompt in PROMPTS]
        for answer in found:
            assert (answer.stop_reason == "end_of_text") == (answer.ids[-1] == end)


def test_an_answer_stops_at_max_new_tokens(model):
    answer = answers(model, [[1, 2]], max_new_tokens=3, end=-1)[0]

    assert len(answer.ids) == 3
    assert answer.stop_reason == "max_new_tokens"


def test_an_answer_stops_where_the_context_is_full(model):
    prompt = [1] * (TINY.n_positions - 2)
    first, second = answers(model, [prompt, [2]], max_new_tokens=12, end=-1)

    assert (len(first.ids), first.stop_reason) == (2, "context")
    assert (len(second.ids), second.stop_reason) == (12, "max_new_tokens")


@pytest.mark.parametrize("length", [TINY.n_positions, TINY.n_positions + 5])
def test_a_prompt_that_leaves_no_room_is_marked_and_harms_no_other(model, length):
    blocked, free = answers(model, [[1] * length, [2, 3]])

    assert blocked == decoding.Answer([], "context")
    assert free.ids == plainly(model, [2, 3], 12, END)


def test_of_equally_likely_tokens_the_lowest_id_is_taken():
    assert decoding.next_token(torch.tensor([[0.0, 2.0, 2.0], [1.0, 1.0, 0.0]])).tolist() == [1, 0]
