"""Git, asked by its command line about a repository."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from stages.common.errors import ConfigError

#: Words of git and of DVC where a folder is in no repository, and of git where it is another user's.
NO_REPOSITORY = "not a git repository"
_OF_ANOTHER_OWNER = "dubious ownership"
#: How an unpacked archive becomes a repository.
CLONE = "git clone the project instead of unpacking an archive of it"
COMMIT = "in this folder: git init, git add -A, git commit -m start"

#: Seconds that git may take for an answer.
_SECONDS = 20.0


def ask(root: Path, *arguments: str) -> str:
    """What a git command prints, without the last line end; nothing where it fails or where there is no git.

    Args:
        root: folder that git runs in.
        arguments: the command, such as ``"rev-parse", "HEAD"``.
    """
    try:
        done = _run(root, arguments, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return _text(done.stdout).strip() if done.returncode == 0 else ""


def do(root: Path, *arguments: str, fix: str) -> str:
    """What a git command prints that has to succeed.

    Args:
        root: folder that git runs in.
        arguments: the command, such as ``"worktree", "prune"``.
        fix: what the user can do where it fails for a reason of its own.

    Raises:
        ConfigError: git fails, or is not installed, or ``root`` is no repository or another user's.
    """
    return _text(do_with_bytes(root, *arguments, fix=fix))


def do_with_bytes(root: Path, *arguments: str, fix: str, given: bytes = b"") -> bytes:
    """What a git command prints that has to succeed, as it prints it.

    Args:
        root: folder that git runs in.
        arguments: the command, such as ``"cat-file", "--batch"``.
        fix: what the user can do where it fails for a reason of its own.
        given: its standard input.

    Raises:
        ConfigError: git fails, or is not installed, or ``root`` is no repository or another user's.
    """
    try:
        done = _run(root, arguments, given=given)
    except FileNotFoundError:
        raise ConfigError(f"{root}: git is not installed, or not on the PATH", "install git") from None
    if done.returncode != 0:
        reason = _text(done.stderr).strip()
        if _OF_ANOTHER_OWNER in reason:
            raise _of_another_owner(root)
        if NO_REPOSITORY in reason:
            raise ConfigError(f"{root}: not a git repository, such as an unpacked archive", f"{CLONE}, or {COMMIT}")
        raise ConfigError(f"{root}: git {arguments[0]} failed: {reason}", fix)
    return done.stdout


def refusal(root: Path) -> ConfigError | None:
    """Why git says nothing about a repository that is there: it is another user's. None where git answers.

    Args:
        root: folder that git runs in.
    """
    try:
        done = _run(root, ("rev-parse", "--git-dir"), timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _of_another_owner(root) if done.returncode != 0 and _OF_ANOTHER_OWNER in _text(done.stderr) else None


def _of_another_owner(root: Path) -> ConfigError:
    what = f"{root.resolve()}: git does not read this repository, which belongs to another user ({_OF_ANOTHER_OWNER})"
    return ConfigError(what, f"git config --global --add safe.directory {shlex.quote(str(root.resolve()))}")


def _text(printed: bytes) -> str:
    """What git printed, as text. A name that is not in UTF-8 still leads to its file."""
    return os.fsdecode(printed).replace("\r\n", "\n")


def _run(
    root: Path, arguments: tuple[str, ...], timeout: float | None = None, given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    # A hook or a `git rebase --exec` around us would point git to another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["LC_ALL"] = "C"  # its messages are told apart by their words
    command = ["git", *arguments]
    return subprocess.run(
        command, cwd=root, env=environment, input=given, capture_output=True, check=False, timeout=timeout
    )
