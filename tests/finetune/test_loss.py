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
