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

from flows import own_cache, profiles, waits
from stages.common import dvc_config, paths
from stages.common.dvc_config import Settings
from stages.common.errors import TemporaryFailure
from stages.common.files import atomic_file
from stages.common.locks import locked_if_possible, try_lock
from stages.common.plurals import counted, word
from stages.running import dvc_cache, git
from stages.running.tracking import execution

_FOLDER = paths.CACHE / "workspaces"
#: A file that the run of a workspace holds locked, and which names its process for people.
_OWNER = "owner"
_POLL_SECONDS = 0.5
#: Seconds after which a workspace whose owner is not written yet counts as left behind.
_FIRST_SECONDS = 60.0
_FIX = "commit the project: a run with a profile or overrides works on a copy of the last commit"


def check_commit(root: Path) -> None:
    """Refuse a folder that has no commit to copy.

    Raises:
        ConfigError: it has none, or is no git repository.
    """
    git.do(root, "rev-parse", "--verify", "HEAD^{commit}", fix=_FIX)


@contextlib.contextmanager
def isolated(
    root: Path,
    profile_name: str,
    overrides: Mapping[str, object],
    *,
    log: Callable[[str], None],
    given_as: profiles.Giver = profiles.by_option,
) -> Iterator[Path]:
    """Give a clean checkout of the last commit whose params.yaml holds the values asked for.

    Args:
        root: the user's repository.
        profile_name: name of a profile, or "current".
        overrides: values by dotted key.
        log: function that is called with messages for the user.
        given_as: function that names how a value of ``overrides`` was given, for messages.

    Yields:
        The folder, which is removed after the block.

    Raises:
        ConfigError: ``root`` has no commit, or the values are wrong; nothing is left behind.
    """
    root = root.resolve()
    prune(root, log=log)
    if changed := git.do(root, "status", "--porcelain", "--", ".", ":(exclude)dvc.lock", fix=_FIX).splitlines():
        files = f"{counted(len(changed), 'changed or new file')} in {root}"
        log(f"this run is of the last commit: {files} {word(len(changed), 'is', 'are')} not part of it")
    with _new_folder(root) as folder:
        tree = folder / "tree"
        git.do(root, "worktree", "add", "--quiet", "--detach", str(tree), "HEAD", fix=_FIX)
        _share_caches(root, tree, root / paths.CACHE)
        text = profiles.to_text(profiles.overlaid(tree, profile_name, overrides, given_as))
        with atomic_file(tree / paths.PARAMS) as stream:
            stream.write(text)
        yield tree


@contextlib.contextmanager
def at_commit(
    root: Path, commit: str, *, log: Callable[[str], None], key: str = "", resumes: bool = True
) -> Iterator[Path]:
    """Give a clean checkout of a commit, as it is.

    Args:
        root: the user's repository.
        commit: the commit, as git takes it.
        log: function that is called with messages for the user.
        key: names a .cache of its own, without the user's checkpoints, answers and verdicts (`flows.own_cache`). Empty:
            the user's own.
        resumes: whether a .cache of this key that an interrupted block has left is used.

    Yields:
        The folder, which is removed after the block.

    Raises:
        ConfigError: git does not check the commit out; nothing is left behind.
        TemporaryFailure: another process has the .cache of this key.
    """
    root = root.resolve()
    prune(root, log=log)
    users = contextlib.nullcontext(root / paths.CACHE)
    with own_cache.of(root, key, log=log, resumes=resumes) if key else users as cache, _new_folder(root) as folder:
        tree = folder / "tree"
        git.do(root, "worktree", "add", "--quiet", "--detach", str(tree), commit, fix="git log --all shows the commits")
        _share_caches(root, tree, cache)
        yield tree


@contextlib.contextmanager
def _new_folder(root: Path) -> Iterator[Path]:
    """An empty folder for a run, removed after the block. Until then the run holds its lock."""
    folder, held = _locked_folder(root / _FOLDER)
    try:
        yield folder
    finally:
        try:
            _remove(root, folder)
        finally:
            os.close(held)


def _locked_folder(workspaces: Path) -> tuple[Path, int]:
    """A new folder, and the descriptor that holds its lock until the process ends, however it ends."""
    workspaces.mkdir(parents=True, exist_ok=True)
    while True:
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=workspaces))
        held = os.open(folder / _OWNER, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        try:
            ours = try_lock(held)
        except OSError:  # the file system has no locks
            ours = True
        if ours:
            os.write(held, execution.identity().encode())
            return folder, held
        os.close(held)  # another run looks at it at this moment, whether it is to be removed


@contextlib.contextmanager
def alone(root: Path, *, log: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other flow runs in the folder itself, and let others wait until the end of the block.

    The kernel frees the lock however a flow ends.

    Args:
        root: the folder.
        log: function that is called with messages for the user.

    Raises:
        TemporaryFailure: another one still works after PIPELINE_WAIT_SECONDS.
    """
    (root / paths.CACHE).mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root / paths.CACHE / "in-place.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    try:
        waiting = False
        deadline = time.monotonic() + waits.longest()
        while not try_lock(descriptor):
            if not waiting:
                log("another run is at work in this folder: waiting for it to end")
            waiting = True
            if time.monotonic() > deadline:
                raise TemporaryFailure(
                    f"{root}: another run is still at work after {waits.longest():.0f} s (PIPELINE_WAIT_SECONDS)",
                    "wait for it or end it, then run the same command again",
                )
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def prune(root: Path, *, log: Callable[[str], None]) -> None:
    """Remove the workspaces of runs that were killed: those whose lock nobody holds.

    The kernel frees a lock, also where the run was in another container or under another host name. Where the file
    system has no locks, only the workspaces of this host's ended processes are removed.

    Args:
        root: the user's repository.
        log: function that is called with messages for the user.
    """
    for folder in sorted((root / _FOLDER).glob("run-*")):
        if _was_killed(folder):
            log(f"removing {folder.name}, the workspace of a run that was killed")
            _remove(root, folder)


def _was_killed(folder: Path) -> bool:
    """Whether the run of a workspace has ended without removing it."""
    with locked_if_possible(folder / _OWNER) as ours:
        if ours is False:
            return False
        try:
            owner = (folder / _OWNER).read_text(encoding="utf-8")
        except OSError:
            owner = ""
        if owner.count(":") < 3:  # of a run that was killed in its first moment, or that is in it
            with contextlib.suppress(FileNotFoundError):
                return time.time() - folder.stat().st_mtime > _FIRST_SECONDS
            return False
        # A run of an earlier version of this file held no lock.
        return execution.is_gone(owner) or (ours is True and not execution.is_here(owner))


def _share_caches(root: Path, tree: Path, stages: Path) -> None:
    """Let the worktree use the user's DVC settings, remotes and cache, and a folder as the stages' .cache.

    Raises:
        ConfigError: a file of DVC's configuration cannot be read.
    """
    # In the worktree a relative path would lead elsewhere, and an old commit may know no remote.
    commit = dvc_config.read_file(tree / dvc_config.COMMITTED, root / dvc_config.FOLDER)
    remotes = dvc_config.read_own(root).remotes.over(commit.remotes)
    cache = Settings({"cache": {"dir": str(dvc_cache.folder(root))}})
    local = dvc_config.read_file(root / dvc_config.LOCAL)
    dvc_config.write(tree / dvc_config.LOCAL, dvc_config.merged([cache, remotes.settings, local]))
    stages.mkdir(parents=True, exist_ok=True)
    (tree / paths.CACHE).symlink_to(stages)


def _remove(root: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # does not follow the link to .cache
    git.do(root, "worktree", "prune", fix=_FIX)
