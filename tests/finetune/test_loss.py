"""The one-pass loss against plain PyTorch: value and every gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from stages.finetune import loss

#: So many that the logits of a group are several blocks, the last one not whole.
WORDS = 1000
assert WORDS % (loss.BLOCK // loss.GROUP) > 0


def plain(hidden, head, targets, weights):
    return (F.cross_entropy(F.linear(hidden, head).float(), targets, reduction="none") * weights).sum()


def inputs(tokens: int, dtype: torch.dtype):
    generator = torch.Generator().manual_seed(tokens)
    hidden = torch.randn(tokens, 8, generator=generator).to(dtype).requires_grad_()
    head = torch.randn(WORDS, 8, generator=generator).to(dtype).requires_grad_()
    weights = torch.randint(1, 4, (tokens,), generator=generator).float()
    return hidden, head, torch.randint(WORDS, (tokens,), generator=generator), weights


def group_of(hidden, head, targets):
    with loss._memory(hidden, head) as memory:
        return loss._Group(hidden, head, targets, memory)


@pytest.mark.parametrize("tokens", [1, 31, 1000, loss.GROUP, loss.GROUP + 3, 4 * loss.GROUP + 5])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 4e-2)])
def test_value_and_gradients_equal_the_plain_loss(tokens, dtype, tolerance):
    hidden, head, targets, weights = inputs(tokens, dtype)
    expected = plain(hidden, head, targets, weights) / 7
    expected_gradients = torch.autograd.grad(expected, (hidden, head))

    found = loss.summed_cross_entropy(hidden, head, targets, weights) / 7
    gradients = torch.autograd.grad(found, (hidden, head))

    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_memory_that_a_larger_loss_has_left_changes_nothing():
    hidden, head, targets, weights = inputs(loss.GROUP + 3, torch.float32)
    loss.summed_cross_entropy(hidden * 50, head, targets, weights)
    few = hidden[:5].detach().requires_grad_()

    found = loss.summed_cross_entropy(few, head, targets[:5], weights[:5])
    again = loss.summed_cross_entropy(few, head, targets[:5], weights[:5])

    torch.testing.assert_close(found, plain(few, head, targets[:5], weights[:5]), rtol=1e-5, atol=1e-4)
    assert torch.equal(found, again)


def test_a_training_takes_the_memory_of_an_evaluation(monkeypatch):
    monkeypatch.setattr(loss, "_kept", {})
    hidden, head, targets, weights = inputs(40, torch.float32)
    with torch.inference_mode():
        loss.summed_cross_entropy(hidden.detach(), head.detach(), targets, weights)
    [kept] = loss._kept.values()
    loss.summed_cross_entropy(hidden, head, targets, weights).backward()

    assert [one.data_ptr() for one in loss._kept.values()] == [kept.data_ptr()]
    assert len(kept) == WORDS * 48  # 40 tokens, and 8 that make a multiple of 16


def test_a_loss_within_another_one_has_memory_of_its_own():
    hidden, head, _, _ = inputs(5, torch.float32)
    with loss._memory(hidden, head) as first, loss._memory(hidden, head) as second:
        assert first.data_ptr() != second.data_ptr()


def test_no_token_has_no_loss():
    hidden, head, targets, weights = inputs(1, torch.float32)
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            assert loss.summed_cross_entropy(hidden[:0], head, targets[:0], weights[:0]) == 0


def test_without_gradients_the_value_is_the_same():
    hidden, head, targets, weights = inputs(300, torch.float32)

    with torch.inference_mode():
        found = loss.summed_cross_entropy(hidden, head, targets, weights)

    torch.testing.assert_close(found, plain(hidden, head, targets, weights), rtol=1e-5, atol=1e-4)


def test_huge_logits_stay_finite():
    hidden = torch.tensor([[1e4, -1e4]], requires_grad=True)
    head = torch.eye(2, requires_grad=True)

    total = loss.summed_cross_entropy(hidden, head, torch.tensor([1]), torch.tensor([2.0]))
    total.backward()

    assert total.item() == pytest.approx(4e4)
    assert hidden.grad.tolist() == [[2.0, -2.0]]


def test_in_bf16_the_gradients_are_as_close_to_fp64_s_as_the_plain_loss_s():
    hidden, head, targets, weights = inputs(4 * loss.GROUP, torch.bfloat16)

    def exact():
        return (F.cross_entropy(F.linear(hidden.double(), head.double()), targets, reduction="none") * weights).sum()

    true = torch.autograd.grad(exact(), (hidden, head))
    usual = torch.autograd.grad(plain(hidden, head, targets, weights), (hidden, head))
    ours = torch.autograd.grad(loss.summed_cross_entropy(hidden, head, targets, weights), (hidden, head))

    for found, theirs, expected in zip(ours, usual, true, strict=True):
        assert (found - expected).norm() <= 1.5 * (theirs - expected).norm()


def test_tokens_whose_logits_are_far_apart_do_not_share_a_largest_one():
    # The first token's largest logit is 1000, the second's 1: e^(1 - 1000) would be 0, and its logarithm -inf.
    hidden = torch.tensor([[1000.0, 0.0], [0.0, 1.0]], requires_grad=True)
    head = torch.eye(2)

    total = loss.summed_cross_entropy(hidden, head, torch.tensor([0, 1]), torch.tensor([1.0, 1.0]))
    total.backward()

    # Losses log(1 + e^-1000) = 0 and log(1 + e^-1); the second's gradient is softmax less one hot.
    assert total.item() == pytest.approx(0.313262, abs=1e-6)
    assert hidden.grad.flatten().tolist() == pytest.approx([0.0, 0.0, 0.268941, -0.268941], abs=1e-6)


def test_a_frozen_head_has_no_gradient_and_what_it_reads_has_one():
    hidden = torch.zeros(1, 2, requires_grad=True)
    head = torch.tensor([[1.0, 2.0], [3.0, 5.0]])

    loss.summed_cross_entropy(hidden, head, torch.tensor([0]), torch.tensor([1.0])).backward()

    # Both words have a probability of 1/2: -1/2 [1, 2] + 1/2 [3, 5].
    assert (hidden.grad.tolist(), head.grad) == ([[1.0, 1.5]], None)


def test_a_head_learns_from_what_has_no_gradient():
    hidden = torch.tensor([[2.0, -1.0]])
    head = torch.tensor([[1.0, 2.0], [1.0, 2.0]], requires_grad=True)

    loss.summed_cross_entropy(hidden, head, torch.tensor([0]), torch.tensor([1.0])).backward()

    # Both words have a probability of 1/2: -1/2 and 1/2 times [2, -1].
    assert (head.grad.tolist(), hidden.grad) == ([[-1.0, 0.5], [1.0, -0.5]], None)


@pytest.mark.parametrize("factor", [-1.0, 0.0, 2.0])
def test_the_gradient_of_a_multiple_of_the_loss_is_that_multiple(factor):
    hidden = torch.zeros(1, 2, requires_grad=True)
    head = torch.tensor([[1.0, 2.0], [3.0, 5.0]])

    (factor * loss.summed_cross_entropy(hidden, head, torch.tensor([0]), torch.tensor([1.0]))).backward()

    assert hidden.grad.tolist() == [[factor * 1.0, factor * 1.5]]


def test_blocks_hold_as_many_logits_as_stay_in_the_cache():
    """1,024 tokens and 600 words: 2^18 / 2^10 = 256 words a block."""
    blocks = loss._in_blocks(torch.zeros(600, 1024))

    assert [tuple(block.shape) for block in blocks] == [(256, 1024), (256, 1024), (88, 1024)]


def test_a_block_has_one_word_where_there_are_more_tokens_than_fit(monkeypatch):
    monkeypatch.setattr(loss, "BLOCK", 2)

    group = group_of(torch.zeros(3, 2), torch.zeros(5, 2), torch.tensor([0, 1, 2]))

    assert [len(block) for block in loss._in_blocks(torch.zeros(5, 3))] == [1, 1, 1, 1, 1]
    assert group.losses.tolist() == pytest.approx([1.609438] * 3, abs=1e-6)  # log 5


def test_logits_that_are_far_apart_overflow_in_no_block(monkeypatch):
    """Two words, each a block of its own, with the logits 0 and 200: exp(200) is more than fp32 has."""
    monkeypatch.setattr(loss, "BLOCK", 2)

    group = group_of(torch.ones(2, 1), torch.tensor([[0.0], [200.0]]), torch.tensor([0, 1]))

    assert group.losses.tolist() == [200.0, 0.0]


@pytest.mark.parametrize("above", [59.0, 60.5, 87.0, 89.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_word_far_above_the_target_is_neither_lost_nor_too_much(above, dtype, monkeypatch):
    """The target's logit is 0, another word's is ``above``: that is the loss, and the gradients are 1 and -1."""
    passes = []
    largest = loss._largest
    monkeypatch.setattr(loss, "_largest", lambda logits: passes.append(1) or largest(logits))
    hidden = torch.ones(1, 1, dtype=dtype, requires_grad=True)
    head = torch.tensor([[0.0], [above]], dtype=dtype, requires_grad=True)

    total = loss.summed_cross_entropy(hidden, head, torch.tensor([0]), torch.tensor([1.0]))
    total.backward()

    assert total.item() == pytest.approx(above, rel=1e-6)
    assert head.grad.flatten().tolist() == [-1.0, 1.0]
    assert hidden.grad.item() == pytest.approx(above, rel=1e-2)
    assert len(passes) == (1 if above > 60 else 0), "the largest logit is looked for where it is needed alone"


def test_the_loss_stays_on_the_device_of_what_it_is_of():
    """The device "meta" computes shapes alone, so that what is made on another one shows without a GPU."""
    hidden = torch.empty(5, 4, device="meta", requires_grad=True)
    head = torch.empty(9, 4, device="meta", requires_grad=True)
    targets = torch.empty(5, dtype=torch.int64, device="meta")
    weights = torch.empty(5, device="meta")

    total = loss.summed_cross_entropy(hidden, head, targets, weights)
    with torch.no_grad():
        alone = loss.summed_cross_entropy(hidden, head, targets, weights)
    group = group_of(hidden.detach(), head.detach(), targets)

    assert (total.device.type, total.requires_grad, alone.device.type) == ("meta", True, "meta")
    assert group.losses.device.type == "meta"
    assert len(loss._in_blocks(torch.empty(50_257, 1024, device="meta"))) == 1  # only a CPU has a cache to stay in


def test_the_logits_of_1024_tokens_are_in_memory_at_a_time(monkeypatch):
    """2,049 tokens make two groups and a third of one token, which 15 of weight 0 fill up to a multiple of 16."""
    lengths = []

    class Recording(loss._Group):
        def __init__(self, h, *others):
            lengths.append(len(h))
            super().__init__(h, *others)

    monkeypatch.setattr(loss, "_Group", Recording)
    hidden, head, targets, weights = inputs(2049, torch.float32)
    loss.summed_cross_entropy(hidden, head, targets, weights)
    with torch.no_grad():
        loss.summed_cross_entropy(hidden, head, targets, weights)

    assert lengths == [1024, 1024, 16] * 2


def test_an_evaluation_makes_no_gradients(monkeypatch):
    def refuse(*_):
        raise AssertionError("a gradient was made")

    monkeypatch.setattr(loss._Group, "gradient", refuse)
    hidden, head, targets, weights = inputs(3, torch.float32)
    with torch.no_grad():
        assert loss.summed_cross_entropy(hidden, head, targets, weights) > 0
    assert loss.summed_cross_entropy(hidden.detach(), head.detach(), targets, weights) > 0


def test_only_a_factor_of_1_is_no_factor():
    assert [loss._seen_to_be_one(torch.tensor(scale)) for scale in (1.0, 0.0, 2.0)] == [True, False, False]
