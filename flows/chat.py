"""Talk to a trained model: `python -m flows.chat --model MODEL`, where MODEL is a folder or an MLflow run.

It finds the model and then replaces this process by `stages.generate.conversation`: flows imports no stage and no
torch. The model of a run is the one that the run's dvc.lock names, taken from DVC's cache.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.tool_settings import set_defaults
from stages.common import paths
from stages.common.errors import ConfigError, DataError
from stages.common.results.finetune import TUNED_MODEL
from stages.running import program, temporary
from stages.running.restore import cached
from stages.running.tracking import tracker


def main() -> None:
    """Find the model, then become the conversation."""
    finder = argparse.ArgumentParser(prog="python -m flows.chat", add_help=False, allow_abbrev=False)
    finder.add_argument("--model", default=str(TUNED_MODEL))
    found, others = finder.parse_known_args()
    folder = TUNED_MODEL if {"-h", "--help"} & set(others) else model_folder(found.model)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "stages.generate.conversation", "--model", str(folder), *others])  # noqa: S606


def model_folder(name: str) -> Path:
    """The folder of a model.

    Args:
        name: a folder, or the id or name of an MLflow run.

    Raises:
        ConfigError: the name is neither, or the run has no model.
        DataError: the folder is missing, or the run's model is not in DVC's cache.
        ServiceUnavailable: MLflow cannot be asked.
    """
    if Path(name).is_dir():
        return Path(name)
    if name == str(TUNED_MODEL):
        raise DataError(f"{name}: no such folder", "dvc repro finetune")
    with temporary.folder() as folder:
        files = tracker.download(Path(), name, ["dvc.lock"], folder)
        if files is None:
            raise ConfigError(f"{name}: neither a folder nor an MLflow run", "make ui shows the runs")
        return of_lock(name, files[0])


def of_lock(name: str, lock: Path) -> Path:
    """A folder of links into DVC's cache, to the model that a dvc.lock names.

    Args:
        name: name of the run, for messages.
        lock: the dvc.lock.

    Raises:
        ConfigError: the dvc.lock names no model.
        DataError: the model is not in DVC's cache.
    """
    try:
        outs = YAML(typ="safe").load(lock)["stages"]["finetune"]["outs"]
        digest = next(str(out["md5"]) for out in outs if out["path"] == str(TUNED_MODEL))
    except (YAMLError, KeyError, TypeError, StopIteration):
        raise ConfigError(
            f"{name}: its dvc.lock names no {TUNED_MODEL}", "--model RUN with one that has finished finetune"
        ) from None
    entry = cached(digest)
    listed = json.loads(entry.read_text(encoding="utf-8")) if entry.is_file() else None
    sources = {one["relpath"]: cached(one["md5"]) for one in listed or []}
    if not sources or not all(source.is_file() for source in sources.values()):
        raise DataError(
            f"{name}: its model, {digest}, is not in DVC's cache here", "dvc repro with its params.yaml, or dvc pull"
        )
    folder = paths.CACHE / "chat" / digest.removesuffix(".dir")
    folder.mkdir(parents=True, exist_ok=True)
    for relative, source in sources.items():
        link = folder / relative
        link.parent.mkdir(parents=True, exist_ok=True)  # with LoRA the adapter has a folder of its own
        link.unlink(missing_ok=True)
        link.symlink_to(source.resolve())
    return folder


if __name__ == "__main__":
    set_defaults()
    program.run("chat", main)
