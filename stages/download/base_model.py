"""The GPT-2 that a run starts from: published weights from the hub or from a folder, or random ones."""

from __future__ import annotations

import os
from pathlib import Path

from stages.common.errors import DataError
from stages.download import hub, local_model
from stages.gpt2 import weights
from stages.gpt2.model import GPT2Config
from stages.params.download import ModelSource
from stages.running.console import say


def make(settings: ModelSource, folder: Path) -> None:
    """Put model.safetensors and config.json into a folder, check every weight, and print where they come from.

    Raises:
        ConfigError, DataError, ServiceUnavailable: as `model_files.bring`; and a DataError if a tensor is missing or of
            the wrong shape, a weight is not finite, or the output head differs from the token embedding.
    """
    if settings.weights == "scratch":
        config = GPT2Config(settings.n_layer, settings.n_head, settings.n_embd, settings.n_positions)
        weights.save(weights.initialise(config, settings.seed), folder)
        say(f"model: random weights, seed {settings.seed}")
        return
    if settings.weights == "hub":
        hub.fetch_model(settings, folder)
    else:
        local_model.copy_model(settings, folder)
    _check(settings, folder)
    at = f" at {settings.revision}" if settings.weights == "hub" else ""
    say(f"model: {settings.repo}{at}")


def _check(settings: ModelSource, folder: Path) -> None:
    """Refuse weights that no later stage can load. To download them again would bring the same ones."""
    try:
        weights.check(folder, made_by="correct download.model.repo in params.yaml: this model's weights do not serve")
    except DataError as error:
        raise DataError(error.what.replace(f"{folder}{os.sep}", f"{settings.repo}: "), error.fix) from None
