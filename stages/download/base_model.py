"""The GPT-2 that a run starts from: published weights from the hub, or random ones."""

from __future__ import annotations

from pathlib import Path

from stages.download import hub
from stages.gpt2 import weights
from stages.gpt2.model import GPT2Config
from stages.params.download import ModelSource
from stages.running.console import say


def make(settings: ModelSource, folder: Path) -> None:
    """Put model.safetensors and config.json into a folder, and print where they come from.

    Raises:
        ConfigError, DataError, ServiceUnavailable: as `hub.fetch_model`.
    """
    if settings.weights == "hub":
        hub.fetch_model(settings, folder)
        say(f"model: {settings.repo} at {settings.revision}")
    else:
        config = GPT2Config(settings.n_layer, settings.n_head, settings.n_embd, settings.n_positions)
        weights.save(weights.initialise(config, settings.seed), folder)
        say(f"model: random weights, seed {settings.seed}")
