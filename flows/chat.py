"""Talk to a trained model: `python -m flows.chat --model MODEL`, where MODEL is a folder or an MLflow run.

It finds the model and then replaces this process by `stages.generate.conversation`: flows imports no stage and no
torch. The model of a run is the one that the run's dvc.lock names, taken from DVC's cache.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from flows.tool_settings import set_defaults
from stages.common import paths
from stages.common.errors import ConfigError, DataError
from stages.common.files import read_text
from stages.common.results.finetune import TUNED_MODEL
from stages.running import bookkeeping, dvc_users, lock, program, temporary
from stages.running.arguments import Parser
from stages.running.tracking import lookup

#: The folders of links to the models of runs, and how many of them stay there.
_LINKS = paths.CACHE / "chat"
_MOST_KEPT = 20
#: What can be done without a model in this folder.
_EARLIER = "talk to the model of an earlier run: --model RUN (make runs lists them)"


def main() -> None:
    """Find the model, then become the conversation."""
    finder = Parser(prog="python -m flows.chat", add_help=False)
    finder.add_argument("--model", default=str(TUNED_MODEL))
    found, others = finder.parse_known_args()
    folder = TUNED_MODEL if {"-h", "--help"} & set(others) else model_folder(found.model)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "stages.generate.conversation", "--model", str(folder), *others])  # noqa: S606


def model_folder(name: str) -> Path:
    """The folder of a model.

    Args:
        name: a folder, or the id or name of an MLflow run, or the beginning of one that no other has.

    Raises:
        ConfigError: the name is neither, or empty, or the run has no model.
        DataError: the folder is missing, or the run's model is not in DVC's cache.
        TemporaryFailure: the folder is missing, and a run is at work that makes it.
        ServiceUnavailable: MLflow cannot be asked.
    """
    lookup.require_name(name)
    if Path(name).is_dir():
        return Path(name)
    if name == str(TUNED_MODEL):
        raise dvc_users.absent(Path(), TUNED_MODEL, "finetune", instead=_EARLIER)
    run = lookup.full_name(Path(), name)
    with temporary.folder() as folder:
        files = lookup.download(Path(), run, ["dvc.lock"], folder) if run else None
        if run is None or files is None:
            what = f"{name}: neither a folder nor an MLflow run{lookup.did_you_mean(Path(), name)}"
            raise ConfigError(what, "make runs lists the runs")
        return of_lock(run, files[0])


def of_lock(name: str, found: Path) -> Path:
    """A folder of links into DVC's cache, to the model that a dvc.lock names.

    Args:
        name: name of the run, for messages.
        found: the dvc.lock.

    Raises:
        ConfigError: the dvc.lock names no model.
        DataError: the model is not in DVC's cache, or the dvc.lock is not what DVC writes.
    """
    called, another = f"{name}: its {lock.LOCK}", "--model RUN with one that has finished finetune"
    text = read_text(found, made_by=another)
    try:
        outputs = lock.outputs(text, "finetune", name=called, fix=another)
        model = next(one for one in outputs if one.path == TUNED_MODEL and one.is_folder)
    except (lock.NoOutputs, StopIteration):
        raise ConfigError(f"{called} names no {TUNED_MODEL}", another) from None
    files = lock.files(model, name=name, fix=another)
    if not files or not all(source.is_file() for _, source in files):
        raise DataError(
            f"{name}: its model, {model.digest}, is not in DVC's cache here",
            f"dvc pull in a clone that has its {lock.LOCK}, or dvc repro with its params.yaml",
        )
    folder = _LINKS / model.digest.removesuffix(".dir")
    folder.mkdir(parents=True, exist_ok=True)
    for path, source in files:
        link = folder / path.relative_to(TUNED_MODEL)
        link.parent.mkdir(parents=True, exist_ok=True)  # with LoRA the adapter has a folder of its own
        link.unlink(missing_ok=True)
        link.symlink_to(source.resolve())
    _prune()
    return folder


def _prune() -> None:
    """Remove the links to all models but the last ones that were talked to; the history of lines is a file, and stays.

    A conversation has its model in memory: it needs the links until it has loaded it.
    """
    with bookkeeping.optional(_LINKS):
        folders = [path for path in _LINKS.iterdir() if path.is_dir()]
        for old in sorted(folders, key=lambda path: path.stat().st_mtime)[:-_MOST_KEPT]:
            shutil.rmtree(old, ignore_errors=True)


if __name__ == "__main__":
    set_defaults()
    program.run("chat", main)
