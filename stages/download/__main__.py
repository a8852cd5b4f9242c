"""Bring in what the pipeline starts from: the dataset, a GPT-2, its tokenizer's files; each checked before it is used.

Writes artifacts/download/dataset.json (equal rows make equal bytes), model/ (model.safetensors and config.json) and
tokenizer/ (vocab.bpe and encoder.json), all of them only once every one is right. Rows that were left out or changed
on request are named in left_out.json.
"""

from __future__ import annotations

from stages.common import files
from stages.common.results.download import BASE_MODEL, DATASET, TOKENIZER
from stages.download.rows_file import DatasetWriter
from stages.gpt2.tokenizer import FILES
from stages.params.download import Download
from stages.running import loading, program


def main() -> None:
    """Run the stage."""
    settings = program.section(Download)
    with loading.without_collector():  # they load torch
        from stages.download import base_model, bpe, left_out, source

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


if __name__ == "__main__":
    program.run("download", main)
