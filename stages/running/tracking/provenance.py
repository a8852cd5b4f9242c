"""Who and what made a run, as tags: the user, the command, the commit, and whether files differ from it.

MLflow's own columns *Created by*, *Source* and *Version* are filled by tags that begin with ``mlflow.``.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import sys
from pathlib import Path

import psutil

from stages.common import paths
from stages.common.printable import printable
from stages.common.secrecy import hidden
from stages.running import git
from stages.running.tracking import execution
from stages.running.tracking.execution import Execution

SOURCE, SOURCE_TYPE = "mlflow.source.name", "mlflow.source.type"
#: The tags of a commit.
OF_GIT = ("git.commit", "git.dirty", "mlflow.source.git.commit", "mlflow.source.git.branch")
#: `git.dirty` of a run whose values, and nothing else, differ from the commit's params.yaml.
ONLY_PARAMS = "params"
#: Characters of a command that are kept.
_MOST = 500


def git_tags(root: Path, commit: str) -> dict[str, str]:
    """The tags of the last commit; none without one.

    ``git.dirty`` is true where a file differs from the commit, besides dvc.lock, which the pipeline writes; params
    where params.yaml alone does; else false.

    Args:
        root: folder in the repository.
        commit: the last commit; empty where there is none.
    """
    if not commit:
        return {}
    others = ("status", "--porcelain", "--", ".", f":(exclude){paths.PARAMS}", ":(exclude)dvc.lock")
    if git.ask(root, *others):
        dirty = "true"
    else:
        dirty = ONLY_PARAMS if git.ask(root, "status", "--porcelain", "--", str(paths.PARAMS)) else "false"
    branch = git.ask(root, "symbolic-ref", "--short", "HEAD")
    return {
        "git.commit": commit,
        "git.dirty": dirty,
        "mlflow.source.git.commit": commit,
        **({"mlflow.source.git.branch": branch} if branch else {}),
    }


def maker(own: Execution) -> dict[str, str]:
    """The user, and the command that the execution was begun with."""
    command = _dvc() if own.of_dvc else _program()
    return {"mlflow.user": _user(), SOURCE: _line(command), SOURCE_TYPE: "LOCAL"}


def _line(words: list[str]) -> str:
    """A command as a shell takes it, without secrets: these are looked for before quotes are around them."""
    return printable(shlex.join(hidden(word) for word in words))[:_MOST]


def _dvc() -> list[str]:
    """The command line of the dvc above this process, from the word dvc."""
    with contextlib.suppress(psutil.Error, IndexError):
        return ["dvc", *(execution.arguments_of_dvc(execution.up_to_dvc()[-1].cmdline()) or ())]
    return ["dvc"]


def _program() -> list[str]:
    """The program of this process, as ``python -m`` takes it."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    name = spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).name
    # The flow of `python -m flows.run` is in a process of its own, with the same arguments.
    return ["python", "-m", {"flows.supervised": "flows.run"}.get(name, name), *sys.argv[1:]]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid())
