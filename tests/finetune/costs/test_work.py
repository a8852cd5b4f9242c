"""The counts of work, worked by hand."""

from __future__ import annotations

from dataclasses import replace

import torch

from stages.common.results.tokenize import Encoded
from stages.finetune.costs import work
from stages.finetune.costs.shape import Shape
from stages.finetune.costs.work import FlopCounter, Work
from stages.finetune.layout import Layout
from stages.finetune.team import Team
from stages.finetune.training_run import Run
from stages.gpt2 import weights
from stages.gpt2.model import GPT2Config
from stages.gpt2.runtime import Compute
from stages.params import whole
from stages.params.finetune import Lora
from tests.root import ROOT

#: One layer of width 2, and a vocabulary of 10.
SIZES = GPT2Config(n_layer=1, n_head=1, n_embd=2, n_positions=64, vocab_size=10)
ON_CPU = Compute(torch.device("cpu"), torch.float32)
RECIPE = whole.load(ROOT / "params.yaml").finetune.model_copy(
    update={
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 0.01,
        "schedule": "constant",
        "warmup_steps": 0,
        "clip_norm": None,
        "precision": "fp32",
        "eval_every": 3,
    }
)


def row(*ids: int, prompt: int = 1) -> Encoded:
    return Encoded(id=f"row{ids}", ids=list(ids), prompt_length=prompt)


#: A shared prefix of [1, 2]; own inputs [3, 4], [3], [5]; the ids 9 at the ends are only ever targets.
ROWS = [row(1, 2, 3, 4, 9), row(1, 2, 3, 9), row(1, 2, 5, 9)]


def test_the_operations_of_a_step_worked_by_hand():
    found = work.work_of(Shape.of(ROWS, "all"), FlopCounter(SIZES))

    # Weights in the layer: 12 * 2 * 2 = 48. Six tokens, 27 pairs of 4 * 2 each, 7 targets of 2 * 10 * 2 each.
    forward = 2 * 48 * 6 + 8 * 27 + 40 * 7
    # Alone: 10 tokens, 10 + 6 + 6 pairs, 10 targets.
    plain = 2 * 48 * 10 + 8 * 22 + 40 * 10
    assert found == Work(tokens=10, computed=6, padding=2, targets=7, flop=3 * forward, plain_flop=3 * plain)


def test_an_evaluation_has_no_backward_pass():
    step = work.work_of(Shape.of(ROWS, "all"), FlopCounter(SIZES))
    evaluation = work.work_of(Shape.of(ROWS, "all"), FlopCounter(SIZES, train=False))

    assert (3 * evaluation.flop, 3 * evaluation.plain_flop) == (step.flop, step.plain_flop)


def test_recomputing_adds_a_forward_pass_of_the_layers():
    flop = FlopCounter(SIZES, recompute=True).flop(tokens=6, pairs=27, targets=7)

    assert flop == 4 * (2 * 48 * 6 + 8 * 27) + 3 * 40 * 7


def test_low_rank_updates_spare_the_frozen_weights_gradients():
    # Rank 3 on c_attn [2, 6] and both c_proj [2, 2] and [8, 2]: 3 * (8 + 4 + 10) weights.
    lora = Lora(rank=3, alpha=1.0, targets=["c_attn", "c_proj"])
    flop = FlopCounter(SIZES, lora).flop(tokens=6, pairs=27, targets=7)

    assert work.lora_weights(SIZES, lora) == 66
    assert flop == 2 * (2 * 48 * 6) + 3 * (8 * 27 + 2 * 66 * 6) + 2 * 40 * 7


def test_the_weights_of_updates_are_those_that_lora_trains():
    from stages.finetune import lora

    settings = Lora(rank=3, alpha=1.0, targets=["c_proj", "c_fc"])
    model = weights.initialise(SIZES, seed=0)
    lora.attach(model, settings, seed=0)

    assert work.lora_weights(SIZES, settings) == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_padding_is_computed_too():
    shape = Shape.of(ROWS, "all", Layout(multiple=4))
    found = work.work_of(shape, FlopCounter(SIZES, train=False))

    # 6 tokens and 7 targets become 8 each; attention sees the 6 alone.
    assert (shape.tokens, shape.targets, shape.computed, shape.logits) == (6, 7, 8, 8)
    assert (found.tokens, found.computed, found.padding, found.targets) == (10, 8, 2, 7)
    assert found.flop == 2 * 48 * 8 + 8 * 27 + 40 * 8


def test_two_processes_compute_the_shared_prefix_twice_and_see_the_rows_once():
    recipe = RECIPE.model_copy(update={"batch_size": 3, "max_steps": 1})
    run = Run(recipe, ROWS, ROWS, "all", ON_CPU)
    alone = work.plan(run, SIZES)
    both = work.plan(replace(run, team=Team(0, 2)), SIZES)

    for one, two in ((alone.steps[0], both.steps[0]), (alone.evaluation, both.evaluation)):
        assert (one.tokens, two.tokens) == (10, 10)
        assert one.computed == 6
        assert one.plain_flop == two.plain_flop
    # By length [1, 2, 3, 9], [1, 2, 5, 9], [1, 2, 3, 4, 9]. The first and the last begin with [1, 2], as each keeps an
    # input of its own; the second is alone.
    assert both.evaluation.computed == (2 + 1 + 2) + 3


def random_rows(count: int, seed: int) -> list[Encoded]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(4, 20, (count,), generator=generator).tolist()
    return [row(*torch.randint(10, (length,), generator=generator).tolist()) for length in lengths]
