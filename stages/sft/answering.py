"""A model that answers prompts: loaded and checked, and put to work on rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.common import files
from stages.common.errors import DataError
from stages.common.params import Generate, Precision
from stages.common.records import Encoded, ModelName, Response
from stages.gpt2 import decoding, runtime, weights
from stages.gpt2.model import GPT2
from stages.gpt2.tokenizer import END_OF_TEXT, FILES_OF_TRANSFORMERS, VOCABULARY_SIZE
from stages.sft.encoding import Encoder, answer_text


def load(folder: Path, *, made_by: str, precision: Precision) -> GPT2:
    """Load a model whose tokenizer is GPT-2's, onto the device that `runtime.prepare` chooses.

    Args:
        folder: holds config.json and model.safetensors, and maybe the tokenizer's files.
        made_by: the command that makes the folder.
        precision: of the parameters in memory.

    Raises:
        DataError: as `weights.load`; or the weights have another vocabulary, or another tokenizer lies beside them.
    """
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
    device = runtime.prepare()
    dtype = runtime.dtype_for(precision, device)
    return decoding.prepare(weights.load(folder, made_by=made_by, dtype=dtype, device=device))


def answer(
    model: GPT2, rows: Sequence[Encoded], name: ModelName, settings: Generate, tokenizer: Encoder
) -> Iterator[Response]:
    """Answer the prompts of rows as params.yaml says; answers come in the order in which they are finished."""
    sampling = None
    if settings.temperature > 0:
        sampling = decoding.Sampling(settings.temperature, settings.top_k, settings.top_p)
    for index, made in decoding.generate(
        model,
        [row.ids[: row.prompt_length] for row in rows],
        max_new_tokens=settings.max_new_tokens,
        end_of_text=END_OF_TEXT,
        batch_size=settings.batch_size,
        sampling=sampling,
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
