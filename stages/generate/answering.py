"""A model that answers prompts: loaded and checked, and put to work on rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from stages.common import files
from stages.common.errors import DataError
from stages.common.records import ModelName
from stages.common.results.generate import Response
from stages.common.results.tokenize import Encoded
from stages.gpt2 import decoding, runtime, tokenizer, weights
from stages.gpt2.model import GPT2, GPT2Config
from stages.gpt2.sampling import Sampling
from stages.gpt2.tokenizer import END_OF_TEXT, FILES_OF_TRANSFORMERS, VOCABULARY_SIZE
from stages.params.generate import Generate
from stages.running.out_of_memory import explained, size
from stages.tokenize.encoding import Encoder, answer_text


def load(folder: Path, *, made_by: str, dtype: torch.dtype, device: torch.device) -> GPT2:
    """Load a model whose tokenizer is GPT-2's, ready to generate.

    Args:
        folder: holds config.json and model.safetensors, and maybe the tokenizer's files.
        made_by: the command that makes the folder.
        dtype: of the parameters in memory.
        device: where they go.

    Raises:
        DataError: as `weights.load`; or the weights have another vocabulary, or another tokenizer lies beside them.
    """
    _check_vocabulary(folder, made_by)
    return decoding.prepare(weights.load(folder, made_by=made_by, dtype=dtype, device=device))


def check(folder: Path, *, made_by: str) -> None:
    """Look for all that `load` refuses, without a copy of the weights. Arguments and errors are those of `load`."""
    _check_vocabulary(folder, made_by)
    weights.check(folder, made_by=made_by)


def _check_vocabulary(folder: Path, made_by: str) -> None:
    config = weights.read_config(folder / weights.CONFIG, made_by=made_by)
    if config.vocab_size != VOCABULARY_SIZE:
        raise DataError(
            f"{folder / weights.CONFIG}: vocab_size: the tokenizer has {VOCABULARY_SIZE} tokens, "
            f"these weights {config.vocab_size}",
            made_by,
        )
    for name, expected in FILES_OF_TRANSFORMERS.items():
        path = folder / name
        if path.is_file() and (found := files.sha256(path)) != expected:
            raise DataError(
                f"{path}: these weights go with another tokenizer than GPT-2's: expected SHA-256 {expected}, "
                f"found {found}",
                made_by,
            )
    tokenizer.check_fast_file(folder, made_by=made_by)


def shortage_explained(
    sizes: GPT2Config, settings: Generate, *, rows: int, longest: int
) -> AbstractContextManager[None]:
    """Turn a shortage of memory that the block meets into a ConfigError that says what to lower.

    Args:
        sizes: of the model.
        settings: how it answers.
        rows: that there are to answer.
        longest: tokens of the longest of their prompts.
    """

    def explain() -> tuple[str, str]:
        places = min(settings.batch_size, rows)
        taken = size(cache_bytes(sizes, settings, places, longest))
        advice = "take a smaller model (download.model) or a machine with more memory"
        if (half := places // 2) > 0:
            less = size(cache_bytes(sizes, settings, half, longest))
            advice = f"set generate.batch_size: {half} in params.yaml, whose cache takes up to {less}; or {advice}"
        them = "a row" if places == 1 else f"{places} rows at a time"
        return f"besides the model, the keys and values of {them} take up to {taken}", advice

    return explained(explain)


def cache_bytes(sizes: GPT2Config, settings: Generate, rows: int, longest: int) -> int:
    """Bytes of the keys and values of so many rows at their longest, in fp32 unless bf16 is asked for."""
    width = 2 if settings.precision == "bf16" else 4
    length = min(longest + settings.max_new_tokens, sizes.n_positions)
    return sizes.n_layer * 2 * rows * length * sizes.n_embd * width


def sampling(temperature: float, top_k: int | None, top_p: float | None) -> Sampling | None:
    """How to draw tokens; at temperature 0 they are not drawn, and it is None."""
    return Sampling(temperature, top_k, top_p) if temperature > 0 else None


def answer(
    model: GPT2, rows: Sequence[Encoded], name: ModelName, settings: Generate, tokenizer: Encoder
) -> Iterator[Response]:
    """Answer the prompts of rows as params.yaml says; answers come in the order in which they are finished."""
    for index, made in decoding.generate(
        model,
        [row.ids[: row.prompt_length] for row in rows],
        max_new_tokens=settings.max_new_tokens,
        end_of_text=END_OF_TEXT,
        batch_size=settings.batch_size,
        sampling=sampling(settings.temperature, settings.top_k, settings.top_p),
        # Of the row alone: who shares its batch, and where it stands in the file, changes no draw.
        seeds=[runtime.seed_for(settings.seed, "sampling", row.id) for row in rows],
    ):
        yield Response(
            id=rows[index].id,
            model=name,
            text=answer_text(made.ids, tokenizer),
            stop_reason=made.stop_reason,
            tokens=len(made.ids),
        )
