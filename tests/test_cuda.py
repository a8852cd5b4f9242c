"""On a GPU: the same numbers as on a CPU, with CUDA graphs and without. Skipped where torch sees none."""

from __future__ import annotations

import pytest
import torch

from stages.finetune import trainer
from stages.finetune.progress import StepRecord
from stages.gpt2 import decoding, graphs, runtime, weights
from stages.gpt2.model import GPT2Config
from tests.finetune.test_trainer import a_run, changed, made_rows
from tests.gpt2.test_captured_decoding import PROMPTS, SIZES

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
    pytest.mark.filterwarnings("error:.*not captured as CUDA graphs"),
]

#: Heads of 64, as GPT-2's, for which there are kernels of all kinds.
MODEL = GPT2Config(n_layer=2, n_head=2, n_embd=128, n_positions=32, vocab_size=40)
RECIPE = changed(epochs=6, eval_every=10, learning_rate=1e-3, clip_norm=1.0, schedule="cosine", warmup_steps=3)
TRAIN = made_rows(24)


@pytest.fixture(autouse=True)
def repeatable():
    """Make torch deterministic, as the stages do; other tests do not."""
    before = torch.get_deterministic_debug_mode()
    yield runtime.prepare()
    torch.set_deterministic_debug_mode(before)


def fit(device: str, recipe=RECIPE, dtype=torch.float32) -> tuple[list[torch.Tensor], list[StepRecord]]:
    model = weights.initialise(MODEL, seed=0).to(device)
    history: list[StepRecord] = []
    trainer.fit(model, a_run(recipe, train=TRAIN, dtype=dtype, device=device), on_step=history.append)
    return [parameter.detach().cpu() for parameter in model.parameters()], history


def numbers(history: list[StepRecord]) -> list[float]:
    return [n for record in history for n in (record.train_loss, record.grad_norm, record.val_loss) if n is not None]


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2}, {"activation_checkpointing": True}])
def test_training_in_fp32_follows_the_cpu(changes):
    recipe = RECIPE.model_copy(update=changes)

    assert numbers(fit("cuda", recipe)[1]) == pytest.approx(numbers(fit("cpu", recipe)[1]), rel=1e-4)


def test_training_in_bf16_learns_as_in_fp32():
    _, fp32 = fit("cuda")
    _, bf16 = fit("cuda", dtype=torch.bfloat16)

    assert bf16[-1].val_loss == pytest.approx(fp32[-1].val_loss, rel=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("changes", [{}, {"dropout": 0.1}, {"accumulate": 2}])
def test_training_repeats_and_cuda_graphs_change_nothing(changes, dtype, monkeypatch):
    recipe = RECIPE.model_copy(update=changes)
    first, history = fit("cuda", recipe, dtype)
    again, same = fit("cuda", recipe, dtype)
    monkeypatch.setenv(graphs.VARIABLE, "0")
    _, plain = fit("cuda", recipe, dtype)

    assert history == same
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert numbers(history) == pytest.approx(numbers(plain), rel=1e-4 if dtype == torch.float32 else 0.02)


@pytest.mark.parametrize("batch_size", [1, 6, 64])
def test_answers_in_fp32_are_those_of_the_cpu(batch_size, monkeypatch):
    def answers(device: str):
        model = weights.initialise(SIZES, seed=1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3.0)
        how = decoding.Decoding(0, max_new_tokens=20, batch_size=batch_size)
        return dict(decoding.generate(decoding.prepare(model.to(device)), PROMPTS, how))

    expected = answers("cpu")
    assert answers("cuda") == expected
    monkeypatch.setenv(graphs.VARIABLE, "0")
    assert answers("cuda") == expected
