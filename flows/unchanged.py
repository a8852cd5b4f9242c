"""What DVC has said of the files in a folder, kept until one of them changes: it takes most of a second to say it.

DVC has called everything up to date. That stays true while each file that it looks at is the one that it was: the same
file by the file system's numbers, which change with its content, its owner, its links or its place. These are its
configuration, the pipeline, code, data and results, and the results in its cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from flows import dvc_cli
from stages.common import paths
from stages.common.files import atomic_file
from stages.running import bookkeeping, dvc_cache, dvc_yaml, git, lock

_NOTE = paths.CACHE / "up_to_date"
#: Files of DVC that may stand in any folder.
_ANYWHERE = ("dvc.yaml", "*/dvc.yaml", "*.dvc", ".dvcignore", "*/.dvcignore")
#: What a dvc.yaml says where its stages read and write other paths than it names.
_BEYOND = re.compile(r"\$\{|^\s*(wdir|foreach|matrix|vars):", re.MULTILINE)


def up_to_date(root: Path) -> bool:
    """True if `dvc repro` in ``root`` would do nothing: DVC says so, or has said so of the same files."""
    now = _digest(root) if _all_is_seen(root) else ""
    if now and now == _kept(root):
        return True
    if not dvc_cli.up_to_date(root):
        return False
    if not now:
        return True
    with bookkeeping.optional(root / _NOTE):
        (root / _NOTE).parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(root / _NOTE) as stream:
            stream.write(now)
    return True


def _kept(root: Path) -> str:
    try:
        return (root / _NOTE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _all_is_seen(root: Path) -> bool:
    """Whether `_looked_at` knows all that DVC looks at.

    It does not where stages have another working directory or are made from templates, where folders below have
    pipelines of their own, and where something is brought in from elsewhere whose changes DVC asks for.
    """
    try:
        pipeline = (root / dvc_yaml.PIPELINE).read_text(encoding="utf-8")
        asked_for = any(_is_asked_for(path) for path in root.glob("*.dvc") if path.is_file())
    except (OSError, UnicodeDecodeError):
        return False
    below = any("/" in name for name in _anywhere(root) if not name.endswith(".dvcignore"))
    return not (_BEYOND.search(pipeline) or asked_for or below)


def _is_asked_for(file: Path) -> bool:
    """Whether DVC asks elsewhere if what a .dvc file brings in has changed: neither here nor frozen."""
    text = file.read_text(encoding="utf-8")
    is_here = any(one.source is not None for one in dvc_yaml.imports_of(file))
    return "deps:" in text and "frozen: true" not in text and not is_here


def _anywhere(root: Path) -> list[str]:
    """DVC's own files in all folders of the repository, as git knows them."""
    return git.ask(root, "ls-files", "-co", "--exclude-standard", "--", *_ANYWHERE).splitlines()


def _digest(root: Path) -> str:
    """SHA-256 of DVC's version, and of each file's path and numbers."""
    found = hashlib.sha256(importlib.metadata.version("dvc").encode())
    for path in _looked_at(root):
        found.update(f"\n{path} {_numbers(path)}".encode("utf-8", errors="surrogateescape"))
    return found.hexdigest()


def _numbers(path: Path) -> list[tuple[int, ...]]:
    """What the file system says of a path, and of what it links to; nothing where nothing is there."""
    found: list[tuple[int, ...]] = []
    for follow in (False, True):
        try:
            status = path.stat(follow_symlinks=follow)
        except OSError:
            return found
        numbers = (status.st_dev, status.st_ino, status.st_mode, status.st_size)
        found.append((*numbers, status.st_mtime_ns, status.st_ctime_ns))
    return found


def _looked_at(root: Path) -> Iterator[Path]:
    """The files that DVC looks at, in the same order each time; a folder comes before what is in it."""
    yield from dvc_cache.config_files(root)
    yield from (root / name for name in (dvc_yaml.PIPELINE, lock.LOCK, *map(Path, _anywhere(root))))
    stages, imported = dvc_yaml.entries(root).values(), list(dvc_yaml.imports(root))
    named = [path for stage in stages for path in (*stage.keys, *stage.deps, *stage.outs)]
    named += [path for one in imported for path in (one.source, one.path) if path is not None]
    for path in dict.fromkeys(named):
        yield from _below(root / path)
    digests = [str(out.get("md5", "")) for entry in lock.entries(root).values() for out in entry.get("outs", [])]
    for digest in dict.fromkeys([*digests, *(one.digest for one in imported if one.digest)]):
        yield from _cached(root, digest)


def _below(path: Path) -> Iterator[Path]:
    """A file; or a folder with all that is in it."""
    yield path
    if path.is_dir():
        for folder, folders, files in os.walk(path):
            folders.sort()
            yield from (Path(folder, name) for name in (*folders, *sorted(files)))


def _cached(root: Path, digest: str) -> Iterator[Path]:
    """The file of an output in DVC's cache; of a folder its list, and the files that this names."""
    path = _in_cache(root, digest)
    yield path
    if digest.endswith(".dir"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            yield from [_in_cache(root, str(one["md5"])) for one in json.loads(path.read_text(encoding="utf-8"))]


def _in_cache(root: Path, digest: str) -> Path:
    return dvc_cache.folder(root) / "files" / "md5" / digest[:2] / digest[2:]
