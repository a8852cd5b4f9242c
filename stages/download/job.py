"""The dataset, the GPT-2 and its tokenizer's files, brought in and checked; none is there before all are right."""

from __future__ import annotations

from stages.common import files
from stages.common.results.download import BASE_MODEL, DATASET, TOKENIZER
from stages.download import base_model, bpe, left_out, source
from stages.download.rows_file import DatasetWriter
from stages.gpt2.tokenizer import FILES
from stages.params.download import Download


def run(settings: Download) -> None:
    """Bring them in.

    Args:
        settings: where they come from.

    Raises:
        ConfigError, DataError, ServiceUnavailable: as `source.fetch_rows`, `bpe.fetch_files` and `base_model.make`.
    """
    with (
        files.atomic_folder(BASE_MODEL) as model,
        files.atomic_folder(TOKENIZER) as tokenizer,
        files.atomic_file(DATASET) as stream,
    ):
        rows = DatasetWriter(stream)
        found = source.fetch_rows(settings.data, rows)
        rows.close()
        bpe.fetch_files(settings.tokenizer.source, tokenizer, FILES)
        base_model.make(settings.model, model)
    left_out.write(found.read, len(rows), found.parts)
