"""What DVC has said of the files in a folder, kept until one of them changes: it takes most of a second to say it.

DVC has called everything up to date. That stays true as long as each file that it looks at is the same one, by the
numbers that the file system gives it. The files are DVC's configuration, the pipeline, code, data, results, and the
results in DVC's cache. In a project where DVC looks at more than that, nothing is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows import dvc_cli
from stages.common import dvc_config, paths
from stages.common.files import atomic_file
from stages.running import bookkeeping, dvc_cache, dvc_yaml, git, lock

_NOTE = paths.CACHE / "up_to_date"
#: DVC's own files that may stand in any folder.
_ANYWHERE = ("dvc.yaml", "*/dvc.yaml", "*.dvc", ".dvcignore", "*/.dvcignore")
#: What stages, .dvc files, and their inputs and outputs may say. With other keys DVC may look elsewhere: `wdir`,
#: `foreach`, `vars`, `repo`, `db`.
_OF_PIPELINES = frozenset({"stages", "metrics", "plots", "artifacts"})
_OF_STAGES = frozenset({"cmd", "deps", "outs", "metrics", "plots", "params", "desc", "meta", "frozen"})
_OF_FILES = frozenset({"md5", "deps", "outs", "frozen", "desc", "meta"})
_OF_PATHS = frozenset({"path", "md5", "size", "nfiles", "hash", "isexec", "cache", "persist", "push", "desc", "meta"})
_DIGEST = re.compile(r"[0-9a-f]{32}(\.dir)?")
#: Seconds after a change in which a second one may have the same time, on disks with coarse clocks.
_COARSE_SECONDS = 2.0


def up_to_date(root: Path) -> bool:
    """True if `dvc repro` in ``root`` would do nothing: DVC says so, or has said so of the same files."""
    now = _digest(root) if _is_all_known(root) else ""
    if now and now == _kept(root):
        return True
    if not dvc_cli.up_to_date(root):
        return False
    if now:
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


def _is_all_known(root: Path) -> bool:
    """Whether `_looked_at` knows every file that DVC looks at. What cannot be read is not known."""
    named = _anywhere(root)
    below = any("/" in name for name in named if not name.endswith(".dvcignore"))
    # Where git says nothing, it has failed: the project has files of DVC.
    if not named or below or (root / ".gitmodules").exists():
        return False
    try:
        pipeline = _tree(root / dvc_yaml.PIPELINE)
        stages = pipeline["stages"]
        return (
            pipeline.keys() <= _OF_PIPELINES
            and all(map(_is_plain_stage, stages.values()))
            and stages.keys() == dvc_yaml.entries(root).keys()
            and all(_is_plain_file(_tree(path), root) for path in root.glob("*.dvc") if path.is_file())
            and all(map(_has_digest, _locked_outs(root)))
        )
    except (OSError, ValueError, YAMLError, KeyError, TypeError, AttributeError):
        return False


def _tree(file: Path) -> Any:
    """A YAML file without templates, as a tree.

    Raises:
        ValueError: it has templates, which DVC fills in.
    """
    text = file.read_text(encoding="utf-8")
    if "${" in text:
        raise ValueError(f"{file}: templates")
    return YAML(typ="safe").load(text)


def _is_plain_stage(stage: Mapping[str, Any]) -> bool:
    """Whether a stage of dvc.yaml works in the project's folder, and names paths there."""
    listed = [one for kind in ("deps", "outs", "metrics", "plots") for one in stage.get(kind) or ()]
    named = [one if isinstance(one, str) else next(iter(one)) for one in listed]
    single = all(isinstance(one, str) or len(one) == 1 for one in listed)
    return stage.keys() <= _OF_STAGES and single and not any("://" in name for name in named)


def _is_plain_file(tree: Mapping[str, Any], root: Path) -> bool:
    """Whether a .dvc file brings in what is in the project's folder, or what is frozen."""
    deps = [] if tree.get("frozen") else tree.get("deps") or []
    outs = tree.get("outs") or []
    known = all(one.keys() <= _OF_PATHS for one in (*deps, *outs)) and all(map(_has_digest, outs))
    return tree.keys() <= _OF_FILES and known and all((root / one["path"]).exists() for one in deps)


def _has_digest(out: Mapping[str, Any]) -> bool:
    """Whether an output is in the cache by its MD5, as DVC 3 has it."""
    return out.get("hash") == "md5" and _DIGEST.fullmatch(str(out.get("md5"))) is not None


def _locked_outs(root: Path) -> list[Mapping[str, Any]]:
    return [out for entry in lock.entries(root).values() for out in entry.get("outs") or ()]


def _anywhere(root: Path) -> list[str]:
    """DVC's own files in all folders of the repository, as git knows them; none where git fails."""
    return git.ask(root, "ls-files", "-co", "--exclude-standard", "--", *_ANYWHERE).splitlines()


def _digest(root: Path) -> str:
    """SHA-256 of DVC's version, and of each file's path and numbers; empty where a file has just changed."""
    found = hashlib.sha256(importlib.metadata.version("dvc").encode())
    newest = (time.time() - _COARSE_SECONDS) * 1e9
    for path in _looked_at(root):
        numbers = _numbers(path)
        if any(changed > newest for *_, changed in numbers):
            return ""
        found.update(f"\n{path} {numbers}".encode("utf-8", errors="surrogateescape"))
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
    yield from dvc_config.files(root)
    yield from (root / name for name in (dvc_yaml.PIPELINE, lock.LOCK, *map(Path, _anywhere(root))))
    stages, imported = dvc_yaml.entries(root).values(), list(dvc_yaml.imports(root))
    named = [path for stage in stages for path in (*stage.keys, *stage.deps, *stage.outs)]
    named += [path for one in imported for path in (one.source, one.path) if path is not None]
    for path in dict.fromkeys(named):
        yield from _below(root / path)
    digests = [str(out["md5"]) for out in _locked_outs(root)] + [one.digest for one in imported if one.digest]
    for digest in dict.fromkeys(digests):
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
            listed = [str(one["md5"]) for one in json.loads(path.read_text(encoding="utf-8"))]
            yield from (_in_cache(root, one) for one in listed if _DIGEST.fullmatch(one))


def _in_cache(root: Path, digest: str) -> Path:
    return dvc_cache.folder(root) / "files" / "md5" / digest[:2] / digest[2:]
