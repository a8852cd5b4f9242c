"""DVC that starts before its work: `python -P waiting_dvc.py DESCRIPTOR dvc ARGUMENTS ...`.

It imports what the command needs, which takes half a second, while the stage before is at work. Then it waits for one
JSON object on the descriptor: the folder to work in and the environment. Where the descriptor closes without one, its
work is not wanted, and it ends. The file is a script and imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

#: What `dvc repro` imports, in DVC 3.67. Where a version has them elsewhere, it imports them when it begins.
_MODULES = (
    *("dvc.cli.parser", "dvc.repo", "dvc.repo.open_repo", "dvc.dvcfile", "dvc.cachemgr", "dvc.data_cloud", "dvc.lock"),
    *("dvc.rwlock", "dvc.scm", "dvc.stage.cache", "dvc.utils.strictyaml", "dvc.repo.stage", "dvc.repo.params"),
    *("dvc.repo.metrics", "dvc.repo.plots", "dvc.repo.artifacts", "dvc.repo.datasets", "dvc_data.hashfile.status"),
)


def read_locks_quickly() -> None:
    """Let DVC read a dvc.lock that it is about to write by its quick parser, which takes 0.03 s for 1,500 lines.

    DVC 3.67 reads it as it does a file with comments, in 0.2 s, which each stage of a run would take. DVC writes no
    comments to it; a file with some is left to DVC's own parser, and so is every other file. Of a lock that DVC has
    written, the bytes are the same either way.
    """
    files = importlib.import_module("dvc.utils.serialize._yaml")
    slow, quick = files.parse_yaml_for_update, files.parse_yaml

    def parse(text: str, path: str) -> object:
        plain = Path(path).name == "dvc.lock" and "#" not in text
        return (quick if plain else slow)(text, path)

    files.parse_yaml_for_update = parse  # type: ignore[attr-defined]


def main(descriptor: int, words: Sequence[str]) -> int:
    """Import what DVC needs, wait for its work, and do it.

    Args:
        descriptor: file descriptor that gives the work.
        words: the command, which begins with "dvc".

    Returns:
        DVC's exit code.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is to be saved yet
    for name in _MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with contextlib.suppress(ImportError, AttributeError):  # where a version has it elsewhere
        read_locks_quickly()
    with open(descriptor, encoding="utf-8") as stream:
        given = stream.read()
    if not given:
        os._exit(0)
    work = json.loads(given)
    os.chdir(work["folder"])
    os.environ.clear()
    os.environ.update(work["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = list(words)
    return int(importlib.import_module("dvc.cli").main(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
