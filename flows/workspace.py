"""An isolated copy of the repository for one run with other parameters: a git worktree under .cache/workspaces.

The user's own files stay as they are. The copy shares DVC's cache and .cache with them: after `make profile`, a
`dvc repro` in the user's folder takes the results from the cache.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flows import dvc_cli, profiles
from stages.common import paths
from stages.common.errors import ConfigError
from stages.common.files import atomic_file
from stages.common.locks import try_lock
from stages.running import git
from stages.running.tracking import execution

_FOLDER = paths.CACHE / "workspaces"
#: The identity of the process that a workspace belongs to.
_OWNER = "owner"
_POLL_SECONDS = 0.5
_FIX = "commit the project: a run with a profile or overrides works on a copy of the last commit"


def check_commit(root: Path) -> None:
    """Refuse a folder that has no commit to copy.

    Raises:
        ConfigError: it has none, or is no git repository.
    """
    git.do(root, "rev-parse", "--verify", "HEAD^{commit}", fix=_FIX)


@contextlib.contextmanager
def isolated(
    root: Path, profile_name: str, overrides: Mapping[str, Any], *, log: Callable[[str], None]
) -> Iterator[Path]:
    """Give a clean checkout of the last commit whose params.yaml holds the values asked for.

    Args:
        root: the user's repository.
        profile_name: name of a profile, or "current".
        overrides: values by dotted key.
        log: function that is called with messages for the user.

    Yields:
        The folder, which is removed after the block.

    Raises:
        ConfigError: ``root`` has no commit, or the values are wrong; nothing is left behind.
    """
    root = root.resolve()
    prune(root, log=log)
    if changed := git.do(root, "status", "--porcelain", "--", ".", ":(exclude)dvc.lock", fix=_FIX).splitlines():
        log(f"this run is of the last commit: {len(changed)} changed or new file(s) in {root} are not part of it")
    (root / _FOLDER).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=root / _FOLDER))
    tree = folder / "tree"
    try:
        with atomic_file(folder / _OWNER) as stream:
            stream.write(execution.identity())
        git.do(root, "worktree", "add", "--quiet", "--detach", str(tree), "HEAD", fix=_FIX)
        _share_caches(root, tree)
        text = profiles.to_text(profiles.overlaid(tree, profile_name, overrides))
        with atomic_file(tree / paths.PARAMS) as stream:
            stream.write(text)
        yield tree
    finally:
        _remove(root, folder)


@contextlib.contextmanager
def alone(root: Path, *, log: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other flow runs in the folder itself, and let others wait until the end of the block.

    The kernel frees the lock however a flow ends.

    Args:
        root: the folder.
        log: function that is called with messages for the user.
    """
    (root / paths.CACHE).mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root / paths.CACHE / "in-place.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    try:
        waiting = False
        while not try_lock(descriptor):
            if not waiting:
                log("another run is at work in this folder: waiting for it to end")
            waiting = True
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def prune(root: Path, *, log: Callable[[str], None]) -> None:
    """Remove the workspaces of runs that were killed.

    Args:
        root: the user's repository.
        log: function that is called with messages for the user.
    """
    for folder in sorted((root / _FOLDER).glob("run-*")):
        try:
            owner = (folder / _OWNER).read_text(encoding="utf-8")
        except FileNotFoundError:
            continue  # another run is creating or removing it
        if execution.is_gone(owner):
            log(f"removing {folder.name}, the workspace of a run that was killed")
            _remove(root, folder)


def _share_caches(root: Path, tree: Path) -> None:
    """Let the worktree use the user's DVC settings and cache, and the stages' files in .cache."""
    settings = root / ".dvc" / "config.local"
    if settings.exists():
        shutil.copy(settings, tree / ".dvc" / "config.local")
    cache = dvc_cli.ask(root, "cache", "dir")
    if cache.returncode != 0:
        raise ConfigError(f"DVC does not tell where its cache is: {cache.stderr.strip()}", "dvc cache dir")
    # Absolute: DVC takes a relative one from the folder of the file it is in.
    set_up = dvc_cli.ask(tree, "cache", "dir", "--local", str(root / cache.stdout.strip()))
    if set_up.returncode != 0:
        raise ConfigError(f"DVC does not take its cache's folder: {set_up.stderr.strip()}", "dvc cache dir")
    (tree / paths.CACHE).symlink_to(root / paths.CACHE)


def _remove(root: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # does not follow the link to .cache
    git.do(root, "worktree", "prune", fix=_FIX)
