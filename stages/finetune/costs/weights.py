"""Numbers of weights, from sizes alone. No torch: they are asked for before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stages.params.finetune import Finetune, Lora


class Sizes(Protocol):
    """The sizes of a GPT-2, as in params.yaml."""

    @property
    def n_layer(self) -> int:
        """Transformer blocks."""

    @property
    def n_embd(self) -> int:
        """Width."""

    @property
    def n_positions(self) -> int:
        """The longest sequence, in tokens."""


@dataclass(frozen=True)
class Weights:
    """Numbers of weights.

    Args:
        all: all weights of the model, low-rank updates included.
        trained: those that are trained.
        at_a_time: those that are whole at a time where each process has a share: the embeddings and two layers.
    """

    all: int
    trained: int
    at_a_time: int

    @classmethod
    def of(cls, sizes: Sizes, recipe: Finetune, *, vocab_size: int) -> Weights:
        """Count the weights of a model of these sizes."""
        embeddings = (vocab_size + sizes.n_positions + 2) * sizes.n_embd
        layer = 12 * sizes.n_embd**2 + 13 * sizes.n_embd
        updates = lora_weights(sizes, recipe.lora)
        every = embeddings + sizes.n_layer * layer + updates
        at_a_time = embeddings + min(2, sizes.n_layer) * (layer + updates // sizes.n_layer)
        return cls(every, updates if recipe.lora else every, at_a_time)


def lora_weights(sizes: Sizes, lora: Lora | None) -> int:
    """Weights of the low-rank updates: a projection [in, out] gets ``rank * (in + out)``."""
    if lora is None:
        return 0
    width = sizes.n_embd
    # In and out of the projections of a layer; both the attention and the MLP have a c_proj.
    shapes = {"c_attn": [(1, 3)], "c_proj": [(1, 1), (4, 1)], "c_fc": [(1, 4)]}
    units = sum(inputs + outputs for target in set(lora.targets) for inputs, outputs in shapes[target])
    return lora.rank * units * width * sizes.n_layer
