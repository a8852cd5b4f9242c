"""Our training beside the loop of the book's own package, `llms-from-scratch`, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from llms_from_scratch.ch05 import train_model_simple
from llms_from_scratch.ch07 import custom_collate_fn
from torch import Tensor

from benchmarks import book
from stages.common.results.tokenize import Encoded
from stages.finetune import trainer
from stages.finetune.batches import batches_of, epoch_order
from stages.gpt2 import weights
from stages.gpt2.model import GPT2Config
from stages.params import whole
from tests.finetune.test_trainer import a_run
from tests.root import ROOT

TINY = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=32, vocab_size=40)
END_OF_TEXT = TINY.vocab_size - 1
STEPS = 50
RECIPE = whole.load(ROOT / "params.yaml").finetune.model_copy(
    update={
        "epochs": 17,
        "max_steps": STEPS,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "weight_decay": 0.1,
        "decay": "all",
        "schedule": "constant",
        "warmup_steps": 0,
        "clip_norm": None,
        "eval_every": 1,
    }
)

Batch = tuple[Tensor, Tensor]


class NextBatches:
    """A run's batches for training, and meanwhile for evaluations those that have not been trained on.

    The book's loop tells losses only of evaluations, after a step, and an evaluation begins to read the training
    batches again. Read from here, its first batch is that of the next step: its loss is that step's, before its update.
    """

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches
        self.done: int | None = None

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        if self.done is not None:
            yield from self.batches[self.done :]
            return
        for number, batch in enumerate(self.batches, 1):
            self.done = number
            yield batch


class Silent:
    """The tokenizer for the sample that the loop prints at its end."""

    def encode(self, text: str, allowed_special: set[str]) -> list[int]:
        return [0]

    def decode(self, ids: list[int]) -> str:
        return ""


def made_rows(count: int, seed: int) -> list[Encoded]:
    """Rows of random ids, all beginning alike, that end with the only end-of-text in them."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for number in range(count):
        length = int(torch.randint(1, 16, (), generator=generator))
        own = torch.randint(END_OF_TEXT, (length,), generator=generator).tolist()
        rows.append(Encoded(id=f"row{number}", ids=[5, 3, 8, *own, END_OF_TEXT], prompt_length=3))
    return rows


def test_fifty_steps_follow_the_book_s_own_loop(capsys):
    train, val = made_rows(14, seed=0), made_rows(5, seed=1)
    # The package's collate function appends the end-of-text itself.
    collate = partial(custom_collate_fn, pad_token_id=END_OF_TEXT)
    batches = [
        collate([train[index].ids[:-1] for index in batch])
        for epoch in range(1, RECIPE.epochs + 1)
        for batch in batches_of(epoch_order(len(train), RECIPE.seed, epoch), RECIPE.batch_size, drop_last=True)
    ][:STEPS]
    theirs = book.of(weights.initialise(TINY, seed=0))
    # The book trains a head of its own; GPT-2's is the embedding, and only with the same weights are losses the same.
    theirs.out_head.weight = theirs.tok_emb.weight
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=RECIPE.learning_rate, weight_decay=RECIPE.weight_decay)

    train_losses, val_losses, _ = train_model_simple(
        theirs,
        NextBatches(batches),
        [collate([row.ids[:-1] for row in val])],
        optimizer,
        "cpu",
        num_epochs=1,
        eval_freq=1,
        eval_iter=1,
        start_context="",
        tokenizer=Silent(),
    )
    run = a_run(RECIPE, train=train, val=val)
    history = trainer.fit(weights.initialise(TINY, seed=0), run, on_step=lambda _: None).history

    assert capsys.readouterr().out.count("Train loss") == STEPS
    assert [record.train_loss for record in history[2:]] == pytest.approx(train_losses[:-1], abs=1e-4)
    assert [record.val_loss for record in history[1:]] == pytest.approx(val_losses, abs=1e-4)
    assert train_losses[-2] < train_losses[0] - 0.3, "the comparison must be of models that learn"
