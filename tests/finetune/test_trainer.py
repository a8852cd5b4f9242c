"""The training loop on tiny random models."""

from __future__ import annotations

import copy
import functools
import math
import re

import pytest
import torch
from safetensors.torch import load_file
from torch.optim import lr_scheduler

from stages.common.errors import ConfigError, DataError
from stages.common.records import LossOn
from stages.common.results.finetune import StepRecord
from stages.common.results.tokenize import Encoded
from stages.finetune import optimizer, passes, trainer
from stages.finetune.batches import batches_of, collate, epoch_order
from stages.finetune.checkpoint import Checkpoints
from stages.finetune.layout import PLAIN, Layout
from stages.finetune.optimizer import MasterWeights
from stages.finetune.schedule import rate_factor
from stages.finetune.team import ALONE, Team
from stages.finetune.training_run import Run
from stages.gpt2 import weights
from stages.gpt2.model import GPT2Config
from stages.gpt2.runtime import Compute
from stages.params.finetune import Finetune

TINY = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=32, vocab_size=40)
RECIPE = Finetune(
    seed=5,
    epochs=2,
    max_steps=None,
    batch_size=4,
    accumulate=1,
    drop_last=True,
    learning_rate=0.01,
    weight_decay=0.1,
    decay="all",
    schedule="constant",
    warmup_steps=0,
    clip_norm=None,
    dropout=0.0,
    precision="fp32",
    activation_checkpointing=False,
    lora=None,
    devices=1,
    parallel="ddp",
    eval_every=3,
    patience=None,
)


def made_rows(count: int, seed: int = 0) -> list[Encoded]:
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for number in range(count):
        length = int(torch.randint(4, 20, (), generator=generator))
        ids = torch.randint(TINY.vocab_size, (length,), generator=generator).tolist()
        rows.append(Encoded(id=f"row{number}", ids=ids, prompt_length=length // 2))
    return rows


#: Every way in which rows lie in a batch.
LAYOUTS = [PLAIN, Layout(multiple=32), Layout(padded=True)]
TRAIN, VAL = made_rows(14), made_rows(5, seed=1)


def a_run(
    recipe: Finetune = RECIPE,
    *,
    train: list[Encoded] = TRAIN,
    val: list[Encoded] = VAL,
    loss_on: LossOn = "all",
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    team: Team = ALONE,
) -> Run:
    """A run on the CPU in fp32 over the rows above, unless it is said otherwise."""
    return Run(recipe, train, val, loss_on, Compute(torch.device(device), dtype), team)


def fit(recipe=RECIPE, *, dtype=torch.float32, train=TRAIN):
    """The weights after training, and the history."""
    model = weights.initialise(TINY, seed=0)
    history: list[StepRecord] = []
    trainer.fit(model, a_run(recipe, train=train, dtype=dtype), on_step=history.append)
    return model, history


def changed(**values) -> Finetune:
    return RECIPE.model_copy(update=values)


@pytest.mark.parametrize("rows_lie", LAYOUTS)
@pytest.mark.parametrize("loss_on", ["all", "response"])
def test_loss_and_gradients_equal_transformers_with_its_own_labels(loss_on, rows_lie, tmp_path):
    from transformers import GPT2LMHeadModel

    model = weights.initialise(TINY, seed=0)
    weights.save(model, tmp_path)
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path)
    rows = TRAIN[:4]
    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([[*row.ids, *[0] * (width - len(row.ids))] for row in rows])
    labels = torch.full_like(ids, -100)
    for number, row in enumerate(rows):
        first = row.prompt_length if loss_on == "response" else 0
        labels[number, first : len(row.ids)] = torch.tensor(row.ids[first:])

    expected = theirs(ids, labels=labels).loss
    expected.backward()
    batch = collate(rows, loss_on, rows_lie)
    loss = passes.summed_loss(model, batch) / batch.count
    loss.backward()

    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    their_gradients = dict(theirs.transformer.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, their_gradients[name].grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss_on", ["all", "response"])
@pytest.mark.parametrize("common", [0, 1, 3, 6])
def test_a_shared_prefix_changes_neither_the_loss_nor_any_gradient(loss_on, common):
    # In fp64, so that what is left is the order of summation.
    prefix = [7, 3, 9, 7, 1, 2][:common]
    rows = [row.model_copy(update={"ids": [*prefix, *row.ids], "prompt_length": common + 2}) for row in TRAIN[:5]]
    losses, gradients = [], []
    for share_prefix in (True, False):
        model = weights.initialise(TINY, seed=0).double()
        batch = collate(rows, loss_on, share_prefix=share_prefix)
        hidden = model(batch.ids, batch.positions, batch.attend)
        assert len(hidden) == sum(len(row.ids) - 1 for row in rows) - (len(rows) - 1) * batch.attend.prefix
        logits = model.logits(hidden[batch.where])
        losses.append(
            torch.nn.functional.cross_entropy(logits, batch.targets, reduction="none") @ batch.weights.double()
        )
        losses[-1].backward()
        gradients.append([parameter.grad for parameter in model.parameters()])

    assert collate(rows, loss_on).attend.prefix == common
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-12, atol=0)
    for shared, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(shared, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss_on", ["all", "response"])
@pytest.mark.parametrize("common", [0, 3, 8, 13])
@pytest.mark.parametrize("rows_lie", LAYOUTS[1:])
def test_filling_up_changes_neither_the_loss_nor_any_gradient(loss_on, common, rows_lie):
    prefix = [7, 3, 9, 7, 1, 2, 2, 5, 6, 6, 1, 0, 4][:common]
    rows = [row.model_copy(update={"ids": prefix + row.ids, "prompt_length": common + 2}) for row in TRAIN[:5]]
    batch = collate(rows, loss_on)
    padded = collate(rows, loss_on, rows_lie)
    assert (batch.attend.prefix, padded.attend.prefix) == (common, common // 8 * 8 if rows_lie.padded else common)
    assert len(padded.ids) > len(batch.ids)
    assert len(padded.targets) > len(batch.targets)
    losses, gradients = [], []
    for each in (batch, padded):
        model = weights.initialise(TINY, seed=0).double()
        hidden = model(each.ids, each.positions, each.attend)
        logits = model.logits(hidden[each.where])
        losses.append(torch.nn.functional.cross_entropy(logits, each.targets, reduction="none") @ each.weights.double())
        losses[-1].backward()
        gradients.append([parameter.grad for parameter in model.parameters()])

    torch.testing.assert_close(losses[1], losses[0], rtol=1e-12, atol=0)
    for ours, plain in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-12)


def padded(rows: list[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels [B, T] as everybody else makes them: padded, with -100 where there is no target."""
    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([[*row.ids, *[0] * (width - len(row.ids))] for row in rows])
    labels = torch.tensor([[*row.ids, *[-100] * (width - len(row.ids))] for row in rows])
    return ids, labels


def test_fifty_steps_follow_transformers_with_torch_s_adamw(tmp_path):
    from transformers import GPT2LMHeadModel

    recipe = changed(epochs=17, max_steps=50, learning_rate=1e-3)
    start = weights.initialise(TINY, seed=0)
    weights.save(start, tmp_path)
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path)
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    expected = []
    for epoch in range(1, recipe.epochs + 1):
        order = epoch_order(len(TRAIN), recipe.seed, epoch)
        for batch in batches_of(order, recipe.batch_size, drop_last=True):
            ids, labels = padded([TRAIN[index] for index in batch])
            loss = theirs(ids, labels=labels).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            expected.append(loss.item())

    _, history = fit(recipe)

    assert [record.train_loss for record in history[1:]] == pytest.approx(expected[:50], abs=1e-4)
    assert expected[49] < expected[0] - 0.3, "the comparison must be of models that learn"


def test_the_history_counts_steps_epochs_and_tokens():
    _, history = fit()

    assert [record.step for record in history] == [0, 1, 2, 3, 4, 5, 6]
    assert [record.epoch for record in history] == [0, 1, 1, 1, 2, 2, 2]
    assert [record.step for record in history if record.val_loss is not None] == [0, 3, 6]
    assert history[0].train_loss is None
    assert all(record.train_loss is not None for record in history[1:])
    assert history[-1].tokens_seen < 2 * sum(len(row.ids) - 1 for row in TRAIN), "drop_last leaves 2 rows out"


def test_the_first_loss_is_that_of_guessing():
    _, history = fit()

    assert history[0].val_loss == pytest.approx(math.log(TINY.vocab_size), abs=0.05)


def test_training_learns_its_rows():
    _, history = fit(changed(epochs=60, drop_last=False, weight_decay=0.0))

    assert history[-1].train_loss < 0.3


def test_training_twice_gives_the_same_weights_and_history():
    (first, first_history), (second, second_history) = fit(), fit()

    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert first_history == second_history


@pytest.mark.parametrize("eval_every", [1, 2, 100])
def test_evaluating_and_drawing_at_other_times_changes_no_weight(eval_every):
    # With dropout, so that a number drawn in between could change what is dropped.
    expected, _ = fit(changed(dropout=0.3))
    found = weights.initialise(TINY, seed=0)

    trainer.fit(found, a_run(changed(dropout=0.3, eval_every=eval_every)), on_step=lambda _: torch.rand(3))

    assert all(torch.equal(a, b) for a, b in zip(expected.parameters(), found.parameters(), strict=True))


def test_max_steps_ends_the_run_with_an_evaluation():
    _, history = fit(changed(max_steps=4))

    assert history[-1].step == 4
    assert history[-1].val_loss is not None


def test_evaluation_counts_every_token_the_same():
    model = weights.initialise(TINY, seed=0)
    total = tokens = 0.0
    for row in VAL:
        batch = collate([row], "all")
        total += passes.summed_loss(model, batch).item()
        tokens += batch.count

    assert passes.Evaluation(model, VAL, "all")() == pytest.approx(total / tokens, rel=1e-6)


def test_one_step_is_that_of_adamw_worked_by_hand():
    # AdamW's first step (Loshchilov & Hutter 2019, algorithm 2): with m = (1 - b1) g and v = (1 - b2) g^2, both
    # corrected for their bias, the update is lr * (sign(g), nearly) and the weight first decays by lr * wd.
    model = weights.initialise(TINY, seed=0)
    before = copy.deepcopy(model)
    rows = [TRAIN[index] for index in epoch_order(len(TRAIN), RECIPE.seed, 1)[:4]]
    batch = collate(rows, "all")
    (passes.summed_loss(before, batch) / batch.count).backward()

    after, _ = fit(changed(max_steps=1))

    old, new = before.h[0].mlp.c_fc.weight, after.h[0].mlp.c_fc.weight
    expected = old * (1 - 0.01 * 0.1) - 0.01 * old.grad / (old.grad.abs() + 1e-8)
    torch.testing.assert_close(new, expected, rtol=1e-4, atol=1e-5)


def test_clipping_is_that_of_torch_over_several_steps():
    ours, theirs = (weights.initialise(TINY, seed=0) for _ in range(2))
    recipe = changed(clip_norm=1.0)
    kept = MasterWeights(ours, torch.float32, recipe)
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    generator = torch.Generator().manual_seed(0)
    for after, size in enumerate((1.0, 1e-3, 0.1, 1e-4, 10.0)):  # of 8,000 numbers: norms of 90, 0.09, 9, 0.009 and 900
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            one.grad = size * torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        expected = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()

        norm = kept.norm()
        kept.step(recipe.learning_rate, norm, after)

        torch.testing.assert_close(norm, expected, rtol=1e-5, atol=0)
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_the_history_has_the_norm_before_clipping():
    _, free = fit(changed(max_steps=1))
    _, clipped = fit(changed(max_steps=1, clip_norm=1e-8))

    assert clipped[1].grad_norm == free[1].grad_norm > 0.1


@pytest.mark.parametrize("decay", ["all", "matrices"])
def test_bf16_updates_by_blocks_are_those_of_whole_tensors_to_the_bit(monkeypatch, decay):
    def updated(block: int) -> list[torch.Tensor]:
        monkeypatch.setattr(optimizer, "BLOCK", block)
        model = weights.initialise(TINY, seed=0)
        kept = MasterWeights(model, torch.bfloat16, changed(decay=decay))
        generator = torch.Generator().manual_seed(1)
        for after in range(3):
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator).bfloat16()
            kept.step(0.01, kept.norm(), after)
        return [*kept.master, *kept.exp_avg, *kept.exp_avg_sq, *model.parameters()]

    whole, blocked = updated(1 << 20), updated(64)

    assert all(torch.equal(ours, theirs) for ours, theirs in zip(blocked, whole, strict=True))


def test_a_weight_without_a_gradient_is_named_and_takes_no_other_s():
    model = weights.initialise(TINY, seed=0)
    kept = MasterWeights(model, torch.bfloat16, changed())
    for name, parameter in model.named_parameters():
        parameter.grad = None if name == "h.0.ln_1.bias" else torch.ones_like(parameter)

    with pytest.raises(RuntimeError, match=r"h\.0\.ln_1\.bias has no gradient"):
        kept.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_the_gradient_s_norm_is_exact_over_millions_of_numbers(dtype, clip_norm):
    # 3.2 million in the embedding, all of about the same size: where a sum in fp32 loses most.
    model = weights.initialise(GPT2Config(n_layer=1, n_head=1, n_embd=64, n_positions=8), seed=0)
    kept = MasterWeights(model, dtype, changed(clip_norm=clip_norm))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.grad = (1 + torch.rand(parameter.shape, generator=generator)).to(dtype)
    expected = sum(parameter.grad.double().square().sum() for parameter in model.parameters()).sqrt()

    assert kept.norm().item() == pytest.approx(expected.item(), rel=1e-5)


def test_bf16_products_keep_fp32_weights_that_move_by_tiny_steps():
    # 1e-5 is under half a unit in the last place of most bf16 weights: pure bf16 training would not move them.
    start = weights.initialise(TINY, seed=0)
    model, history = fit(changed(learning_rate=1e-5, weight_decay=0.0, max_steps=1), dtype=torch.bfloat16)

    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    moved = (model.h[0].mlp.c_fc.weight != start.h[0].mlp.c_fc.weight).float().mean()
    assert moved > 0.95
    assert history[0].val_loss == pytest.approx(math.log(TINY.vocab_size), abs=0.1)


def test_bf16_learns_as_fp32_does():
    _, fp32 = fit(changed(epochs=8))
    _, bf16 = fit(changed(epochs=8), dtype=torch.bfloat16)

    assert bf16[-1].train_loss == pytest.approx(fp32[-1].train_loss, rel=0.05)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1 / 3, 2 / 3, 1, 1, 1, 1]),
        ("linear", [1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25]),
        ("cosine", [1 / 3, 2 / 3, 1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
    ],
)
def test_rate_factor(schedule, expected):
    recipe = changed(schedule=schedule, warmup_steps=2)

    assert [rate_factor(step, 6, recipe) for step in range(1, 7)] == pytest.approx(expected)


def torch_s_schedule(name: str, warmup: int, steps: int):
    def make(optimizer):
        rise = lr_scheduler.LinearLR(optimizer, 1 / (warmup + 1), 1.0, total_iters=warmup)
        after = {
            "constant": lambda: lr_scheduler.ConstantLR(optimizer, 1.0),
            "linear": lambda: lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps - warmup),
            "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, steps - warmup),
        }[name]()
        return lr_scheduler.SequentialLR(optimizer, [rise, after], [warmup])

    return make


def by_hand(recipe, scheduler) -> tuple[torch.nn.Module, list[float]]:
    """The recipe as a plain loop over torch's own optimiser and schedule: weights, and learning rates."""
    model = weights.initialise(TINY, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = scheduler(optimizer)
    rates = []
    for epoch in range(1, recipe.epochs + 1):
        order = epoch_order(len(TRAIN), recipe.seed, epoch)
        for indices in batches_of(order, recipe.batch_size, drop_last=True):
            batch = collate([TRAIN[index] for index in indices], "all", share_prefix=False)
            (passes.summed_loss(model, batch) / batch.count).backward()
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    return model, rates


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step:UserWarning")
@pytest.mark.parametrize("name", ["constant", "linear", "cosine"])
def test_a_run_follows_torch_s_schedules(name):
    recipe = changed(epochs=3, schedule=name, warmup_steps=2)
    expected, rates = by_hand(recipe, torch_s_schedule(name, 2, 9))

    found, history = fit(recipe)

    assert [record.learning_rate for record in history[1:]] == pytest.approx(rates, rel=1e-6)
    for ours, theirs in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_rows_that_fill_no_batch_are_refused_with_the_fix():
    with pytest.raises(ConfigError, match=r"14 train rows do not fill one batch of finetune\.batch_size 15"):
        fit(changed(batch_size=15))


def test_a_loss_that_is_not_finite_stops_with_its_step_and_rows():
    with pytest.raises(ConfigError, match=r"step 2: .* is (nan|inf); the rows of this step: row"):
        fit(changed(learning_rate=1e30))


def spoilt(factor: float, folder, *, step: int = 3):
    """Train, and multiply one weight's gradient in a step; the error, and the weights after it."""
    model = weights.initialise(TINY, seed=0)
    steps, passes = [], []

    def spoil(parameter):
        passes.append(parameter)
        if len(passes) == step:
            parameter.grad.mul_(factor)

    model.ln_f.weight.register_post_accumulate_grad_hook(spoil)
    with Checkpoints(folder, seconds=1000, say=print) as checkpoints, pytest.raises(ConfigError) as error:
        trainer.fit(
            model,
            a_run(changed(eval_every=100)),
            on_step=lambda record: steps.append(record.step),
            checkpoints=checkpoints,
        )
    return str(error.value), model, steps


@pytest.mark.parametrize(
    ("factor", "fault"),
    [
        (math.nan, "grad_norm is nan"),
        (math.inf, "grad_norm is (inf|nan)"),
        (1e7, "grad_norm is .*more than 1,000 times"),
    ],
)
def test_a_spoilt_gradient_changes_no_weight_and_the_weights_before_it_are_saved(tmp_path, factor, fault):
    expected, _ = fit(changed(max_steps=2))

    message, model, steps = spoilt(factor, tmp_path / "run")

    assert re.search(rf"step 3: {fault}.*; the rows of this step: row\d+, row", message)
    assert f"the weights after step 2 in {tmp_path / 'run' / 'step-00000002'}" in message
    assert steps == [0, 1, 2]
    saved = load_file(tmp_path / "run" / "step-00000002" / "state.safetensors")
    for name, parameter in expected.named_parameters():
        assert torch.equal(saved[f"weight.{name}"], parameter), name
        assert torch.equal(dict(model.named_parameters())[name], parameter), name


def test_numbers_that_are_read_a_step_late_change_nothing(monkeypatch, tmp_path):
    # As on a GPU, which has the next step to do meanwhile.
    expected, history = fit(changed(dropout=0.1))
    _, before, _ = spoilt(math.nan, tmp_path / "run")
    monkeypatch.setattr(trainer, "steps_ahead", lambda _: 1)

    found, late = fit(changed(dropout=0.1))
    message, model, steps = spoilt(math.nan, tmp_path / "late")

    assert late == history
    assert all(torch.equal(a, b) for a, b in zip(expected.parameters(), found.parameters(), strict=True))
    assert "step 3: grad_norm is nan" in message
    assert "after step 2 in" in message
    assert steps == [0, 1, 2]
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), model.parameters(), strict=True))


def test_a_model_that_is_no_good_before_training_is_refused():
    model = weights.initialise(TINY, seed=0)
    with torch.no_grad():
        model.ln_f.weight[0] = math.nan

    with pytest.raises(DataError, match="before any training the validation loss is nan"):
        trainer.fit(model, a_run(), on_step=lambda _: None)


def test_micro_batches_without_a_target_count_nothing_and_a_batch_without_one_names_its_rows():
    empty = [row.model_copy(update={"prompt_length": len(row.ids)}) for row in TRAIN[:2]]
    rows = [*empty, *TRAIN[2:4]]
    gradients = []
    for accumulate in (1, 2, 4):
        model = weights.initialise(TINY, seed=0)
        recipe = changed(accumulate=accumulate)
        kept = MasterWeights(model, torch.float32, recipe)
        micro_batches = passes.micro_batches(rows, a_run(recipe, loss_on="response"), 1)
        passes.backward(functools.partial(passes.summed_loss, model), kept, micro_batches)
        gradients.append(kept.sums or [parameter.grad for parameter in model.parameters()])

    for found in gradients[1:]:
        for ours, theirs in zip(found, gradients[0], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    with pytest.raises(DataError, match="no token to learn from in the rows row0, row1"):
        passes.Evaluation(model, empty, "response")()
    with pytest.raises(DataError, match="no token to learn from in the rows row0, row1"):
        passes.micro_batches(empty, a_run(recipe, loss_on="response"), 1)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("accumulate", [2, 3, 4])
def test_gradient_accumulation_makes_the_same_steps(accumulate, dropout):
    whole, expected = fit(changed(epochs=4, dropout=dropout))
    parts, found = fit(changed(epochs=4, dropout=dropout, accumulate=accumulate))

    assert [record.train_loss for record in found[1:]] == pytest.approx([r.train_loss for r in expected[1:]], rel=1e-4)
    for ours, theirs in zip(parts.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-3)


def test_decay_on_matrices_leaves_biases_and_norms_alone():
    recipe = changed(max_steps=1, weight_decay=1.0, learning_rate=1e-3)
    start = dict(weights.initialise(TINY, seed=0).named_parameters())
    everything = dict(fit(recipe)[0].named_parameters())
    matrices = dict(fit(recipe.model_copy(update={"decay": "matrices"}))[0].named_parameters())

    norm = "h.0.ln_1.weight"
    decayed = everything[norm] - matrices[norm]
    torch.testing.assert_close(decayed, -1e-3 * start[norm], rtol=1e-3, atol=1e-6)
    assert torch.equal(everything["wte.weight"], matrices["wte.weight"])


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_activation_checkpointing_changes_no_bit(dropout):
    plain, expected = fit(changed(dropout=dropout))
    recomputed, found = fit(changed(dropout=dropout, activation_checkpointing=True))

    assert found == expected
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), recomputed.parameters(), strict=True))


def test_dropout_is_repeatable_changes_training_and_is_off_in_evaluation():
    _, without = fit()
    _, first = fit(changed(dropout=0.3))
    model, second = fit(changed(dropout=0.3, eval_every=1))

    assert [r.train_loss for r in first] == [r.train_loss for r in second]
    assert first[1].train_loss != without[1].train_loss
    assert first[0].val_loss == without[0].val_loss
    assert passes.Evaluation(model, VAL, "all")() == first[-1].val_loss


@pytest.mark.parametrize("rows_lie", LAYOUTS[1:])
def test_padding_changes_nothing_that_is_dropped(rows_lie):
    # In fp64, so that what is left is the order of summation.
    losses, gradients = [], []
    for layout, seeds, rows in ((PLAIN, [7, 8, 9], TRAIN[:3]), (rows_lie, [9, 7, 8], [TRAIN[2], *TRAIN[:2]])):
        model = weights.initialise(TINY, seed=0).double()
        batch = collate(rows, "all", layout, dropout=0.3, seeds=seeds)
        hidden = model(batch.ids, batch.positions, batch.attention, batch.drop)
        logits = model.logits(hidden[batch.where])
        losses.append(
            torch.nn.functional.cross_entropy(logits, batch.targets, reduction="none") @ batch.weights.double()
        )
        losses[-1].backward()
        gradients.append([parameter.grad for parameter in model.parameters()])

    torch.testing.assert_close(losses[0], losses[1], rtol=1e-12, atol=0)
    for plain, padded in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, padded, rtol=1e-9, atol=1e-12)


def test_what_is_dropped_differs_from_step_to_step_and_with_the_seed():
    recipe = changed(dropout=0.3)
    masks = [
        passes.micro_batches(TRAIN[:2], a_run(recipe.model_copy(update={"seed": seed})), step)[0].drop.rows.tolist()
        for seed, step in ((5, 1), (5, 2), (6, 1), (5, 1))
    ]

    assert masks[0] == masks[3]
    assert len({row for rows in masks[:3] for row in rows}) == 6


def test_dropout_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    fit(changed(dropout=0.3))

    assert torch.equal(torch.rand(1), expected)


def test_patience_stops_when_validation_stops_falling_and_keeps_the_best_weights():
    model = weights.initialise(TINY, seed=0)
    run = a_run(changed(epochs=100, eval_every=5, patience=2))
    progress = trainer.fit(model, run, on_step=lambda _: None)

    evaluated = [(record.step, record.val_loss) for record in progress.history if record.val_loss and record.step]
    losses = [loss for _, loss in evaluated]
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 2, "it ends two evaluations after the best one"
    assert progress.kept_step == evaluated[best][0]
    assert passes.Evaluation(model, VAL, "all")() == losses[best]
    assert progress.step < 300
