"""Whether the folder is a git repository and a DVC project that work: identity, state, cache, lock file, remotes."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from flows import waits
from stages.common import dvc_config, paths
from stages.common.errors import ConfigError, DataError
from stages.common.plurals import counted
from stages.params import whole
from stages.running import dvc_cache, git, lock
from stages.running.checks.row import Row, ok, problem, warning

#: Files of git by an operation that is not finished, and what ends it.
_UNFINISHED = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
}
#: The packages in which DVC has its remotes, by the scheme of their address.
_OF_REMOTES = {
    "s3": "dvc_s3",
    "gs": "dvc_gs",
    "azure": "dvc_azure",
    "ssh": "dvc_ssh",
    "sftp": "dvc_ssh",
    "gdrive": "dvc_gdrive",
    "hdfs": "dvc_hdfs",
    "webdav": "dvc_webdav",
    "webdavs": "dvc_webdav",
    "oss": "dvc_oss",
}


def repository(root: Path) -> Iterator[Row]:
    """The git repository: whether there is one, whose it is, its commit and what is not committed."""
    fix = f"{git.CLONE}, or {git.COMMIT}"
    try:
        folder = root / git.do(root, "rev-parse", "--git-dir", fix=fix).strip()
    except ConfigError as error:
        yield problem("git", error)
        return
    if not git.ask(root, "rev-parse", "--verify", "HEAD^{commit}"):
        yield problem(
            "git", ConfigError("no commit yet, which runs with other values copy", "git add -A; git commit -m start")
        )
        return
    yield from _state(root, folder)


def _state(root: Path, folder: Path) -> Iterator[Row]:
    lock = folder / "index.lock"
    if lock.exists():
        found = f"{lock}: left by a git that was killed, or a git is at work: nothing can be committed"
        yield problem("git", DataError(found, f"rm {shlex.quote(str(lock))}, if no git is at work"))
    for name, what in _UNFINISHED.items():
        if (folder / name).exists():
            yield warning("git", f"a {what} is not finished", f"git {what} --continue, or git {what} --abort")
    commit = git.ask(root, "rev-parse", "--short", "HEAD")
    if not git.ask(root, "symbolic-ref", "--quiet", "HEAD"):
        found = f"at {commit}, on no branch, as after a dvc exp run that was stopped: a commit would be on none"
        yield warning("git", found, "git checkout BRANCH; with -f, which drops the values of that experiment")
        return
    changed = git.ask(root, "status", "--porcelain", "--", ".", ":(exclude)dvc.lock").splitlines()
    if changed:
        first = changed[0].split(maxsplit=1)[-1]
        found = f"{counted(len(changed), 'changed or new file')}, which no run with other values sees: {first}"
        yield warning("git", f"at {commit}; {found}" + (" and more" if changed[1:] else ""), "git add -A; git commit")
    elif git.ask(root, "status", "--porcelain", "--", "dvc.lock"):
        made = "dvc.lock alone has changed, by a run; git commit -am NAME makes it the baseline"
        yield ok("git", f"at {commit}; {made}")
    else:
        yield ok("git", f"at {commit}, all committed")


def identity(root: Path) -> Iterator[Row]:
    """The name and the address that commits need."""
    # Variables may give both; they are taken away where git is asked.
    name = os.environ.get("GIT_AUTHOR_NAME") or git.ask(root, "config", "user.name")
    address = os.environ.get("GIT_AUTHOR_EMAIL") or git.ask(root, "config", "user.email")
    if name and address:
        yield ok("git identity", f"{name} <{address}>")
        return
    fix = 'git config --global user.name "NAME"; git config --global user.email ADDRESS'
    yield warning("git identity", "not set: no commit can be made, nor an experiment by `dvc exp run`", fix)


def values(root: Path) -> Iterator[Row]:
    """params.yaml, and the environment variables that say how the flow waits."""
    whole.load(root / paths.PARAMS)
    yield ok("params.yaml", "as the schema has it")
    waits.check()


def dvc(root: Path) -> Iterator[Row]:
    """DVC's cache, its lock file and its locks."""
    if not (root / ".dvc").is_dir():
        yield problem(
            "DVC", ConfigError(f"{root / '.dvc'}: missing, so that DVC does not work here", "git checkout -- .dvc")
        )
        return
    try:
        stages = len(lock.read(root).get("stages", {}))
    except DataError as error:
        yield problem("DVC", error)
    else:
        kept = sum(1 for _ in (dvc_cache.folder() / "runs").glob("*/*"))
        told = f"{counted(stages, 'stage')} in {lock.LOCK}; {counted(kept, 'earlier run')} of stages"
        there = (root / lock.LOCK).exists()
        found = f"{told} in the cache {dvc_cache.folder()}" if there else f"no {lock.LOCK}: nothing has run here yet"
        yield ok("DVC", found)
    yield from _locks(root)


def _locks(root: Path) -> Iterator[Row]:
    path = root / ".dvc" / "tmp" / "rwlock"
    try:
        held = json.loads(path.read_text(encoding="utf-8") or "{}")
    except FileNotFoundError:
        return
    except ValueError:
        yield warning("DVC", f"{path}: half written by a DVC that was killed", f"rm {shlex.quote(str(path))}")
        return
    if pids := sorted({pid for pid in _pids(held) if psutil.pid_exists(pid)}):
        yield ok("DVC", f"at work here: process {', '.join(map(str, pids))}")


def _pids(held: Any) -> Iterator[int]:
    """The process ids in DVC's lock file, wherever they are in it."""
    if isinstance(held, dict):
        if isinstance(held.get("pid"), int):
            yield held["pid"]
        held = list(held.values())
    if isinstance(held, list):
        for inner in held:
            yield from _pids(inner)


def remotes(root: Path) -> Iterator[Row]:
    """DVC's remotes: whether the default one exists, and each can be used."""
    remotes = dvc_config.read(root).remotes
    found = {name: str(options.get("url", "")) for name, options in remotes.named.items()}
    default = remotes.default
    if default and default not in found:
        wrong = ConfigError(f"core.remote is {default!r}, and there is no such remote", f"dvc remote add {default} URL")
        yield problem("DVC remote", wrong)
    for name, url in found.items():
        yield _remote(name, url)
    if not found and not default:
        yield ok("DVC remote", "none: results stay on this machine")


def _remote(name: str, url: str) -> Row:
    scheme = urlsplit(url).scheme if "://" in url else ""
    if scheme in ("", "file"):
        folder = Path(url.removeprefix("file://"))
        if folder.is_dir():
            return ok("DVC remote", f"{name}: {url}")
        fix = f"mkdir -p {shlex.quote(str(folder))}, mount its disk, or dvc remote modify {name} url URL"
        return problem("DVC remote", ConfigError(f"{name}: {folder}: no such folder", fix))
    package = _OF_REMOTES.get(scheme)
    if package and importlib.util.find_spec(package) is None:
        fix = f"pip install {package.replace('_', '-')}"
        return problem(
            "DVC remote", ConfigError(f"{name}: {scheme} needs the package {package.replace('_', '-')}", fix)
        )
    return ok(
        "DVC remote", f"{name}: {scheme}://{urlsplit(url).netloc.rpartition('@')[2]}; not asked: dvc status --cloud"
    )
