"""Bring in what the pipeline starts from: the dataset, a GPT-2, its tokenizer's files; each checked before it is used.

Writes artifacts/download/dataset.json (equal rows make equal bytes), model/ (model.safetensors and config.json) and
tokenizer/ (vocab.bpe and encoder.json), all of them only once every one is right. Rows that were left out or changed
on request are named in left_out.json.
"""

from __future__ import annotations

from stages.params.download import Download
from stages.running import loading, program


def main() -> None:
    """Run the stage."""
    settings = program.section(Download)
    with loading.without_collector():  # it loads torch
        from stages.download import job

    job.run(settings)


if __name__ == "__main__":
    program.run("download", main)
