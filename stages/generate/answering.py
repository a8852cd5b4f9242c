"""A model that answers prompts: how it is loaded and checked, and how it answers rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from stages.common import files
from stages.common.errors import DataError
from stages.common.records import ModelName
from stages.common.results.generate import Response
from stages.common.results.tokenize import Encoded
from stages.gpt2 import decoding, runtime, tokenizer, weights
from stages.gpt2.inference import Network
from stages.gpt2.prepacked import Layout
from stages.gpt2.sampling import Sampling
from stages.gpt2.tokenizer import END_OF_TEXT, FILES_OF_TRANSFORMERS, VOCABULARY_SIZE
from stages.params.generate import Generate
from stages.prompts.encoding import Encoder, answer_text


def load(folder: Path, *, made_by: str, dtype: torch.dtype, device: torch.device, layout: Layout = "plain") -> Network:
    """Load a model whose tokenizer is GPT-2's, ready to generate.

    Args:
        folder: folder with config.json and model.safetensors, and perhaps the tokenizer's files.
        made_by: the command that makes the folder.
        dtype: dtype of the parameters in memory.
        device: device of the parameters.
        layout: how the parameters are laid out, as `stages.gpt2.prepacked.layout_for` says.

    Raises:
        DataError: as `weights.load`; or the weights have another vocabulary, or the folder has another tokenizer.
    """
    _check_vocabulary(folder, made_by)
    return decoding.prepare(weights.load(folder, made_by=made_by, dtype=dtype, device=device), layout)


def check(folder: Path, *, made_by: str) -> None:
    """Check for all that `load` refuses, without a copy of the weights. Arguments and errors are those of `load`."""
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


def sampling(temperature: float, top_k: int | None, top_p: float | None) -> Sampling | None:
    """How to draw tokens; None at temperature 0, where the most likely token is taken."""
    return Sampling(temperature, top_k, top_p) if temperature > 0 else None


def answer(
    model: Network, rows: Sequence[Encoded], name: ModelName, settings: Generate, tokenizer: Encoder
) -> Iterator[Response]:
    """Answer the prompts of rows as params.yaml says; answers come in the order in which they are finished."""
    how = decoding.Decoding(
        end_of_text=END_OF_TEXT,
        max_new_tokens=settings.max_new_tokens,
        batch_size=settings.batch_size,
        sampling=sampling(settings.temperature, settings.top_k, settings.top_p),
    )
    prompts = [row.ids[: row.prompt_length] for row in rows]
    # From the row's id alone: neither its batch mates nor its position in the file change a draw.
    seeds = [runtime.seed_for(settings.seed, "sampling", row.id) for row in rows]
    for index, made in decoding.generate(model, prompts, how, seeds):
        yield Response(
            id=rows[index].id,
            model=name,
            text=answer_text(made.ids, tokenizer),
            stop_reason=made.stop_reason,
            tokens=len(made.ids),
        )
