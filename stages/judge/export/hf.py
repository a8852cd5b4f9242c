"""A run's model as a folder for Hugging Face's programs: what the stage finetune wrote, and a card with the scores."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.common.files import atomic_file
from stages.common.metrics.judge import JudgeMetrics
from stages.common.plurals import counted
from stages.finetune import card, for_transformers
from stages.gpt2 import weights
from stages.gpt2.tokenizer import Tokenizer
from stages.judge.export.taken import Taken
from stages.judge.runs.places import MADE_BY
from stages.running.summary_parts.scores import mean_of_100


def write(source: Taken, folder: Path, licence: str) -> None:
    """Write the model of a run into an existing folder.

    A model of an earlier version, without a chat template, gets one. A LoRA adapter stays behind: it names its base
    model by a path of the project.

    Args:
        source: the run.
        folder: the folder.
        licence: identifier of the licence for the card; empty for none.
    """
    for name in (weights.WEIGHTS, weights.CONFIG):
        shutil.copyfile(source.model / name, folder / name)
    tokenizer = Tokenizer(source.model, made_by=MADE_BY)
    for_transformers.write(tokenizer, source.style, folder, context=int(source.config["n_positions"]))
    later = card.Later(data_lines(source.values), score_lines(source.judged), licence)
    recipe = source.values.get("finetune", {})
    with atomic_file(folder / card.CARD) as stream:
        stream.write(card.text(source.config, source.style, recipe, source.training, later))


def data_lines(values: Mapping[str, Any]) -> list[str]:
    """The data and the base weights, as a run's values name them.

    Args:
        values: the values of params.yaml as a tree; what is missing is left out.
    """
    download = values.get("download", {})
    data, model = download.get("data", {}), download.get("model", {})
    lines = []
    if source := data.get("source"):
        lines.append(f"instructions: `{source}`" + (f", SHA-256 `{data['sha256']}`" if data.get("sha256") else ""))
    if model.get("weights") == "scratch":
        lines.append(f"base weights: random, seed {model.get('seed')}")
    elif model.get("repo"):
        revision = f", revision `{model['revision']}`" if model.get("revision") else ""
        lines.append(f"base weights: `{model['repo']}`{revision}")
    return lines


def score_lines(found: JudgeMetrics) -> list[str]:
    """The scores with their 95 % intervals, and who gave them."""
    tuned = found.tuned
    of = counted(tuned.n, "row")
    lines = [
        f"judge: {found.judge.marked(found.judge.name)}, fingerprint `{found.judge.fingerprint[:12]}`; "
        "each answer to a test row has 0 to 100 points",
        f"mean with its 95 % interval: {_told(tuned.mean, tuned.interval)} on {tuned.scored:,} of {of}",
    ]
    if found.base is not None:
        lines.append(f"before fine-tuning: {_told(found.base.mean, found.base.interval)}")
    if tuned.right is not None:
        lines.append(f"right answers: {tuned.right.right:,} of {tuned.right.n:,}")
    if found.judge.measure is not None:
        lines.append("the built-in judge compares words with one reference answer; it does not know their meaning")
    return lines


def _told(mean: float | None, interval: Any) -> str:
    return " ".join(mean_of_100(mean, interval).split())
