"""The memory that a model and its KV cache take, and what to lower where it is too much."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from stages.params.generate import Generate
from stages.running.console import size
from stages.running.out_of_memory import explained


class Sizes(Protocol):
    """The sizes of a GPT-2."""

    @property
    def n_layer(self) -> int:
        """Transformer blocks."""

    @property
    def n_embd(self) -> int:
        """Width."""

    @property
    def n_positions(self) -> int:
        """The longest sequence, in tokens."""


def shortage_explained(sizes: Sizes, settings: Generate, *, rows: int, longest: int) -> AbstractContextManager[None]:
    """Turn a shortage of memory within the block into a ConfigError that says what to lower.

    Args:
        sizes: sizes of the model.
        settings: how the model answers.
        rows: number of rows to answer.
        longest: tokens of their longest prompt.
    """

    def explain() -> tuple[str, str]:
        at_a_time = min(settings.batch_size, rows)
        taken = size(cache_bytes(sizes, settings, at_a_time, longest))
        advice = "take a smaller model (download.model) or a machine with more memory"
        if (half := at_a_time // 2) > 0:
            less = size(cache_bytes(sizes, settings, half, longest))
            advice = f"set generate.batch_size: {half} in params.yaml, whose cache takes up to {less}; or {advice}"
        them = "a row" if at_a_time == 1 else f"{at_a_time} rows at a time"
        return f"besides the model, the keys and values of {them} take up to {taken}", advice

    return explained(explain)


def no_room_for_model_explained(
    parameters: int, folder: Path, *, bf16: bool, instead: str | None = None
) -> AbstractContextManager[None]:
    """Turn a shortage of memory within the block, which loads or checks a model, into a ConfigError.

    Fewer rows at a time would not help: none has begun.

    Args:
        parameters: number of weights of the model.
        folder: folder of the model.
        bf16: whether its weights are in bf16 in memory, or else in fp32.
        instead: a setting with which it takes half the memory; None: there is none.
    """

    def explain() -> tuple[str, str]:
        taken = parameters * (2 if bf16 else 4)
        half = "" if instead is None else f"{instead}, which takes {size(taken // 2)}; or "
        advice = f"{half}end what else uses this memory, take a smaller model (download.model) or another machine"
        return f"the model in {folder} does not fit: its weights take {size(taken)}", advice

    return explained(explain)


def cache_bytes(sizes: Sizes, settings: Generate, rows: int, longest: int) -> int:
    """Bytes of the keys and values of ``rows`` rows at their longest, in bf16 if the settings say so, else in fp32."""
    width = 2 if settings.precision == "bf16" else 4
    length = min(longest + settings.max_new_tokens, sizes.n_positions)
    return sizes.n_layer * 2 * rows * length * sizes.n_embd * width
