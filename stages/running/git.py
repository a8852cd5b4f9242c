"""Git, asked by its command line about a repository."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from stages.common.errors import ConfigError

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
    return done.stdout.strip() if done.returncode == 0 else ""


def do(root: Path, *arguments: str, fix: str) -> str:
    """What a git command prints that has to succeed.

    Args:
        root: folder that git runs in.
        arguments: the command, such as ``"worktree", "prune"``.
        fix: what the user can do where it fails.

    Raises:
        ConfigError: git fails.
    """
    done = _run(root, arguments)
    if done.returncode != 0:
        raise ConfigError(f"{root}: git {arguments[0]} failed: {done.stderr.strip()}", fix)
    return done.stdout


def _run(root: Path, arguments: tuple[str, ...], timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    # A hook or a `git rebase --exec` around us would point git to another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *arguments]
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=timeout
    )
