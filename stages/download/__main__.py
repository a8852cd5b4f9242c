"""Bring in what the pipeline starts from: the dataset, a GPT-2, its tokenizer's files; each checked before it is used.

Writes artifacts/download/dataset.json (equal rows make equal bytes), model/ (model.safetensors and config.json) and
tokenizer/ (vocab.bpe and encoder.json), all of them only once every one is right.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from stages.common import files, paths
from stages.common.errors import ConfigError
from stages.common.results.download import BASE_MODEL, DATASET, TOKENIZER
from stages.download import bpe, dataset, hub
from stages.download.fetch import check_file, fetch, is_url
from stages.gpt2 import tokenizer
from stages.params.download import DataSource, Download, ModelSource
from stages.running import program
from stages.running.console import say

SOURCE = "download.data.source"
SHA256 = "download.data.sha256"


def main() -> None:
    """Run the stage."""
    settings = program.section(Download)
    with files.atomic_folder(BASE_MODEL) as model, files.atomic_folder(TOKENIZER) as bpe_files:
        rows = _dataset(settings.data)
        bpe.fetch_files(settings.tokenizer.source, bpe_files, tokenizer.FILES)
        _model(settings.model, model)
        files.write_json(DATASET, rows)


def _dataset(settings: DataSource) -> list[dataset.Row]:
    _check_watched(settings)
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "dataset"
        mend = f"if this is the file that you want, set {SHA256} in params.yaml to what was found"
        fetch(settings.source, local, settings.sha256, key=SOURCE, mend=mend)
        found = dataset.read(local, name=settings.source, mend=f"correct the file, or {SOURCE} in params.yaml")
    if found.unknown:
        keys = ", ".join(f"{key!r} ({count:,} rows)" for key, count in list(found.unknown.items())[:10])
        more = f" and {len(found.unknown) - 10:,} more" if len(found.unknown) > 10 else ""
        say(f"{settings.source}: left out keys that no stage uses: {keys}{more}")
    say(f"dataset: {len(found.rows):,} rows from {settings.source}")
    return found.rows


def _check_watched(settings: DataSource) -> None:
    """Demand a SHA-256 for a dataset that DVC does not watch: one that is not under data/."""
    if settings.sha256 is not None:
        return
    if is_url(settings.source, SOURCE):
        raise ConfigError(
            f"{SHA256}: needed for a URL, since DVC cannot see when what is there changes; found null",
            f"set {SHA256} in params.yaml to what this prints: curl -sL '{settings.source}' | sha256sum",
        )
    # By name, so that data/../x is outside; not by what links lead to, since DVC may link data/ into its cache.
    path = Path(os.path.abspath(paths.local_path(settings.source)))  # noqa: PTH100 Path.absolute keeps the ..
    if path.is_relative_to(Path(os.path.abspath(paths.DATA))):  # noqa: PTH100
        if not path.exists():
            mend = f"dvc repro download, which brings {paths.DATA}/ in first; or correct {SOURCE} in params.yaml"
            raise ConfigError(f"{settings.source}: no such file", mend)
        return
    check_file(path, SOURCE)
    raise ConfigError(
        f"{SHA256}: needed for {settings.source}, which is not under {paths.DATA}/, since DVC cannot see when it "
        "changes; found null",
        f"set {SHA256}: {files.sha256(path)} in params.yaml",
    )


def _model(settings: ModelSource, folder: Path) -> None:
    if settings.weights == "hub":
        hub.fetch_model(settings, folder)
        say(f"model: {settings.repo} at {settings.revision}")
        return
    from stages.gpt2 import weights
    from stages.gpt2.model import GPT2Config

    config = GPT2Config(settings.n_layer, settings.n_head, settings.n_embd, settings.n_positions)
    weights.save(weights.initialise(config, settings.seed), folder)
    say(f"model: random weights, seed {settings.seed}")


if __name__ == "__main__":
    program.run("download", main)
