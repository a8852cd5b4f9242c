"""Generation: equal to transformers', whatever the batch; and how an answer ends."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from stages.common.errors import DataError
from stages.gpt2 import decoding, weights
from stages.gpt2.decoding import Decoding
from stages.gpt2.inference import Network
from stages.gpt2.model import GPT2, GPT2Config, Projection
from stages.gpt2.prompt_lookup import PromptLookup
from stages.gpt2.sampling import Sampling

TINY = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=24, vocab_size=23)
END = 22
#: Lengths differ, and some prompts hold the end-of-text id, which is also what others pad with.
PROMPTS = [[1, 2, 3], [END, 4], [5], [6, 7, 8, 9, END, 10], [11, 12, 13, 14], [0, 0], [15, 16, 17, 18, 19, 20, 21]]


def shaken(config: GPT2Config) -> GPT2:
    """Every parameter random, so that a wrong or forgotten one shows."""
    made = weights.initialise(config, seed=3)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return made


@pytest.fixture(scope="module")
def model() -> GPT2:
    return shaken(TINY)


def answers(
    model: GPT2, prompts=PROMPTS, *, max_new_tokens=12, batch_size=64, end=END, sampling=None, seeds=None
) -> list[decoding.Answer]:
    how = Decoding(end, max_new_tokens, batch_size, sampling)
    made = dict(decoding.generate(model, prompts, how, seeds))
    assert sorted(made) == list(range(len(prompts)))
    return [made[index] for index in range(len(prompts))]


def plainly(model: GPT2, prompt: list[int], max_new_tokens: int, end: int) -> list[int]:
    """As in the book: the whole sequence goes through the network again for every token, one row at a time."""
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


def test_ninety_active_rows_are_answered_as_each_alone(model):
    generator = torch.Generator().manual_seed(7)
    lengths = torch.randint(1, 20, (90,), generator=generator).tolist()
    prompts = [[1, 2, *torch.randint(0, 23, (length,), generator=generator).tolist()] for length in lengths]
    most = torch.randint(1, 13, (90,), generator=generator).tolist()
    expected = [plainly(model, prompt, min(m, 24 - len(prompt)), END) for prompt, m in zip(prompts, most, strict=True)]

    for batch_size in (1, 64, 90):
        found = answers(model, prompts, max_new_tokens=most, batch_size=batch_size)
        assert [answer.ids for answer in found] == expected
    assert len({tuple(ids) for ids in expected}) > 30


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, None), (7, None), (7, Sampling(1.0))], ids=["draft tokens", "greedy", "sampling"]
)
def test_a_model_whose_logits_overflow_is_told(count, chosen):
    """Each weight is finite, as the reading of weights demands; their products are not."""
    diverged = shaken(TINY)
    with torch.no_grad():
        diverged.wte.weight.mul_(1e30)
        diverged.ln_f.weight.mul_(1e30)

    with pytest.raises(DataError, match=r"logits are NaN or infinite.*\n  to fix it: set generate.precision: fp32"):
        answers(diverged, PROMPTS[:count], sampling=chosen, seeds=range(count))


def test_draft_tokens_are_not_accepted_from_logits_that_overflow(model, monkeypatch):
    chosen = torch.tensor([[0.0, 1.0], [0.0, torch.inf]])
    monkeypatch.setattr(decoding, "decode_several", lambda *_: chosen)
    row = decoding._Row(0, [1, 2], 12, None, [1])

    with pytest.raises(DataError, match="logits are NaN or infinite"):
        decoding._verified(None, None, row, [1])


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


#: Prompts with a shared prefix, more than fit a batch of 3, so that waiting rows take the slots of finished ones.
ALIKE = [[1, 2, 3, *rest] for rest in ([4], [5, 6], [7], [END], [8, 9, 10, 11], [12, 13], [4], [14, 15, 16], [17, 18])]


@pytest.mark.parametrize("batch_size", [1, 3, 4, 64])
@pytest.mark.parametrize("end", [END, 4, 9])
def test_prompts_that_begin_alike_are_answered_as_each_alone(model, batch_size, end):
    assert [answer.ids for answer in answers(model, ALIKE, batch_size=batch_size, end=end)] == [
        plainly(model, prompt, 12, end) for prompt in ALIKE
    ]


@pytest.mark.parametrize("batch_size", [3, 64])
def test_no_padding_is_computed_the_shared_prefix_once_and_nothing_for_finished_rows(model, monkeypatch, batch_size):
    widths = []
    hidden = Network.hidden

    def counted(self, ids, positions, attend):
        widths.append(len(ids))
        return hidden(self, ids, positions, attend)

    monkeypatch.setattr(Network, "hidden", counted)
    found = answers(model, ALIKE, batch_size=batch_size)

    # An answer's last token is made and never put in.
    assert sum(widths) == 3 + sum(len(prompt) - 3 for prompt in ALIKE) + sum(len(made.ids) - 1 for made in found)


def test_no_logits_are_computed_but_those_a_token_is_chosen_by(model, monkeypatch):
    rows = []
    of = Network.of

    def counting(model: GPT2) -> Network:
        network = of(model)

        def head(hidden: torch.Tensor) -> torch.Tensor:
            rows.append(len(hidden))
            return network.head(hidden)

        return dataclasses.replace(network, head=head)

    monkeypatch.setattr(Network, "of", counting)
    found = answers(model, ALIKE, batch_size=3)

    assert sum(rows) == sum(len(made.ids) for made in found)


def test_a_length_for_each_prompt(model):
    lengths = [3, 1, 5, 2, 4, 1, 3]

    assert [len(made.ids) for made in answers(model, max_new_tokens=lengths, batch_size=3, end=-1)] == lengths


def test_tokens_come_one_by_one_with_the_reason_at_the_end(model):
    made = list(decoding.tokens(model, [[1] * 24, [5]], Decoding(-1, max_new_tokens=3, batch_size=4)))
    expected = plainly(model, [5], 3, -1)

    assert made == [
        decoding.Token(0, None, "context"),
        decoding.Token(1, expected[0], None),
        decoding.Token(1, expected[1], None),
        decoding.Token(1, expected[2], "max_new_tokens"),
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prompts": [[1], []]}, "prompt 1: expected at least one token"),
        ({"max_new_tokens": 0}, "max_new_tokens: expected at least 1, found 0"),
        ({"max_new_tokens": [3, -1]}, "max_new_tokens: expected at least 1, found -1"),
        ({"max_new_tokens": [3]}, "max_new_tokens: expected 2, one a prompt, found 1"),
        ({"batch_size": 0}, "batch_size: expected at least 1, found 0"),
        ({"seeds": [1]}, "seeds: expected 2, one a prompt, found 1"),
        ({"seeds": None}, "sampling without seeds"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(model, given, message):
    arguments = {"prompts": [[1], [2]], "sampling": Sampling(1.0), "seeds": [1, 2]}

    with pytest.raises(ValueError, match=message):
        answers(model, **arguments | given)


SAMPLING = Sampling(temperature=1.5, top_k=15, top_p=0.95)


def test_a_sampled_answer_depends_on_its_seed_and_prompt_alone(model):
    seeds = [100 + number for number in range(len(ALIKE))]
    expected = answers(model, ALIKE, sampling=SAMPLING, seeds=seeds)

    for batch_size in (1, 2, 3):
        assert answers(model, ALIKE, sampling=SAMPLING, seeds=seeds, batch_size=batch_size) == expected
    assert answers(model, ALIKE[::-1], sampling=SAMPLING, seeds=seeds[::-1])[::-1] == expected
    assert answers(model, ALIKE[2:4], sampling=SAMPLING, seeds=seeds[2:4]) == expected[2:4]
    assert expected[0].ids != expected[6].ids, "the same prompt with another seed"
    assert [made.ids for made in expected] != [made.ids for made in answers(model, ALIKE)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_answers_in_either_precision_are_those_of_one_row_at_a_time(model, dtype):
    """bf16 may round differently in a batch, but not so much that most answers change."""
    cast = weights.initialise(TINY, seed=3).to(dtype)
    cast.load_state_dict(model.state_dict())
    together, alone = answers(cast), answers(cast, batch_size=1)

    same = sum(a == b for a, b in zip(together, alone, strict=True))
    assert same == len(PROMPTS) if dtype == torch.float32 else same >= len(PROMPTS) // 2


def test_the_longest_prompt_is_answered_first(model):
    made = decoding.tokens(model, [[1], [2, 3, 4], [5, 6]], Decoding(-1, max_new_tokens=1, batch_size=1))

    assert [token.index for token in made] == [1, 2, 0]


def test_waiting_rows_are_prefilled_when_a_quarter_of_the_slots_is_free(model, monkeypatch):
    """Of twenty rows one ends at each step. Ten wait; five are taken in as soon as there is room for five."""
    taken = []
    prefill = decoding.prefill

    def recorded(network, cache, prompts, prefix=None):
        taken.append(len(prompts))
        return prefill(network, cache, prompts, prefix)

    monkeypatch.setattr(decoding, "prefill", recorded)
    answers(model, [[n % 21] for n in range(30)], max_new_tokens=[*range(2, 22), *[1] * 10], batch_size=20, end=-1)

    assert taken == [20, 5, 5]


@pytest.mark.parametrize(
    ("most", "context", "draft"),
    [
        (14, 100, [1, 2, 3, 1, 2, 3, 1]),  # seven at first
        (9, 100, [1, 2, 3]),
        (7, 100, [1]),
        (6, 100, []),
        (14, 13, [1, 2, 3]),
        (14, 11, [1]),
        (14, 10, []),
    ],
)
def test_draft_tokens_and_one_more_fit_into_the_answer_and_the_context(most, context, draft):
    """Nine tokens, of which the answer has five; the last four are what the first five predict."""
    row = decoding._Row(0, [1, 2, 3, 1], most, None, ids=[2])
    assert row.draft(100) == []
    row.ids += [3, 1, 2, 3]

    assert (row.position, row.draft(context)) == (8, draft)


def test_the_cache_is_as_long_as_the_longest_row_can_become(model, monkeypatch):
    sizes = []
    cache = Network.cache

    def recorded(self, rows, length):
        sizes.append((rows, length))
        return cache(self, rows, length)

    monkeypatch.setattr(Network, "cache", recorded)
    answers(model, [[1, 2, 3], [4, 5]], max_new_tokens=[2, 4], end=-1)
    answers(model, [[1] * 20, [4, 5]], max_new_tokens=12, end=-1, batch_size=1)

    answers(model, [[1, 2, 3], [1, 2, 4]], max_new_tokens=2, end=-1)

    assert sizes == [(2, 6), (1, TINY.n_positions), (1, 2), (2, 5)]  # the shared prefix has one of its own


def test_of_equal_prompts_each_has_a_last_token_of_its_own(model):
    assert [made.ids for made in answers(model, [[1, 2, 3]] * 3)] == [plainly(model, [1, 2, 3], 12, END)] * 3


def test_weights_are_laid_out_for_the_cpu_on_a_cpu(model):
    used = shaken(TINY)
    decoding.prepare(used)

    laid_out = [module.weight for module in used.modules() if isinstance(module, Projection)]
    assert len(laid_out) == 8  # four a block
    assert all(weight.t().is_contiguous() for weight in laid_out)
    assert torch.equal(used.h[0].mlp.c_fc.weight, model.h[0].mlp.c_fc.weight)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of PyTorch has no oneDNN")
@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("layout", ["onednn", "prepacked"])
def test_answers_by_each_layout_of_weights_are_the_model_s_own(model, batch_size, layout):
    prompts = [[1, 2, 3], [4], [5, 6], [1, 2, 7, 8], [9]]
    how = decoding.Decoding(END, 12, batch_size)

    found = dict(decoding.generate(decoding.prepare(shaken(TINY), layout), prompts, how))

    assert [found[number].ids for number in range(5)] == [plainly(model, prompt, 12, END) for prompt in prompts]


def test_of_several_new_tokens_those_behind_the_end_are_left_out():
    row = decoding._Row(7, [1], 9, None, ids=[2])

    found = list(decoding._extended(row, [5, END, 6], END, TINY.n_positions))

    assert found == [decoding.Token(7, 5, None), decoding.Token(7, END, "end_of_text")]
    assert row.ids == [2, 5, END]


def test_a_pass_over_draft_tokens_gives_the_accepted_ones_and_one_more(model, monkeypatch):
    accepted, given = [], []
    verified, pass_over = PromptLookup.verified, decoding._verified

    def told(self, drafted, count):
        accepted.append(count)
        verified(self, drafted, count)

    def counted(*arguments):
        given.append(len(found := pass_over(*arguments)))
        return found

    monkeypatch.setattr(PromptLookup, "verified", told)
    monkeypatch.setattr(decoding, "_verified", counted)
    answers(model, [[1, 2, 1, 2, 1]], max_new_tokens=18, end=-1)

    assert accepted
    assert given == [count + 1 for count in accepted]
