"""Refuse where a run is at work in this folder: `python tools/at_work.py`, which `make clean` asks first.

It needs the standard library alone: there may be no .venv. It ends with 75 and names what is at work.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

#: The exit code of something that may succeed later, as in stages/common/errors.py.
TEMPORARY = 75


def at_work(root: Path) -> Iterator[str]:
    """What is at work in a folder, as far as its files tell: DVC's, the locks of stages and flows, and workspaces."""
    for name in (".dvc/tmp/rwlock", ".cache/workspaces/*/tree/.dvc/tmp/rwlock"):
        for path in sorted(root.glob(name)):
            yield from (f"{path}: process {pid} ({command})" for pid, command in _users(path) if _is_dvc(pid))
    cache = root / ".cache"
    inside = [path for path in cache.rglob("*") if "workspaces" not in path.relative_to(cache).parts]
    # Of a workspace, whose tree is a copy of the project, the run holds the file that names it.
    for path in sorted([*inside, *cache.glob("workspaces/*/owner")]):
        if path.is_file() and _is_locked(path):
            yield f"{path}: another process has locked it"


def _users(path: Path) -> Iterator[tuple[int, str]]:
    """The processes that DVC's lock file names, each with its command.

    The file is {"read": {PATH: [{"pid": 1, "cmd": "dvc repro"}]}, "write": {PATH: {"pid": 1, "cmd": "dvc repro"}}}.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        users = [user for readers in tree.get("read", {}).values() for user in readers]
        users += tree.get("write", {}).values()
        yield from {int(user["pid"]): str(user["cmd"]) for user in users}.items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # removed, or left half written by a DVC that was killed


def _is_dvc(pid: int) -> bool:
    """Whether a process lives and is a DVC, as far as the system tells: another may have got its number."""
    try:
        return _lives(pid) and b"dvc" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return _lives(pid)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # it is gone, or its file system has no locks
    return False


def main() -> None:
    """End with 75 if something is at work in the working directory."""
    found = next(at_work(Path()), None)
    if found is not None:
        print(f"a run is at work in this folder: {found}", file=sys.stderr)
        print("  to fix it: wait for it, or stop it with Ctrl-C", file=sys.stderr)
        sys.exit(TEMPORARY)


if __name__ == "__main__":
    main()
