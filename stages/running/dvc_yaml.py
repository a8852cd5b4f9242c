"""dvc.yaml, read: what each stage runs, reads and writes; and the .dvc files beside it.

What cannot be read counts as missing: DVC tells what is wrong there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.common import paths

PIPELINE = Path("dvc.yaml")


class Entry(NamedTuple):
    """A stage of dvc.yaml.

    Args:
        cmd: its command, or several.
        keys: the keys of params files that it depends on, by file.
        deps: the paths that it reads.
        outs: the paths that it writes.
        digest: SHA-256 of all that dvc.yaml says of it.
    """

    cmd: str | list[str]
    keys: Mapping[Path, tuple[str, ...]]
    deps: tuple[Path, ...]
    outs: tuple[Path, ...]
    digest: str


class Import(NamedTuple):
    """What a .dvc file brings in.

    Args:
        source: the path that it is taken from; None where there is none, or several.
        path: the path that it is put at.
        digest: its MD5, as DVC has recorded it; None where it has not.
    """

    source: Path | None
    path: Path
    digest: str | None


def entries(root: Path = Path()) -> dict[str, Entry]:
    """The stages by name; none where dvc.yaml is missing or cannot be read.

    Args:
        root: folder of dvc.yaml.
    """
    try:
        tree = YAML(typ="safe").load(root / PIPELINE)
        return {str(name): _entry(entry) for name, entry in tree["stages"].items()}
    except (OSError, YAMLError, KeyError, TypeError, AttributeError, ValueError):
        return {}


def entry_of(stage: str, root: Path = Path()) -> Entry | None:
    """A stage; None where dvc.yaml does not know it."""
    return entries(root).get(stage)


def imports(root: Path) -> Iterator[Import]:
    """What the .dvc files in a folder bring in."""
    for file in sorted(root.glob("*.dvc")):
        yield from imports_of(file)


def origin(path: Path) -> Path:
    """The file or folder that DVC brings a path in from, where it is one and there; else the path itself.

    Args:
        path: the path, relative to the root of the repository.
    """
    imported = [one for one in imports(Path()) if one.source is not None and path.is_relative_to(one.path)]
    sources = (one.source / path.relative_to(one.path) for one in imported if one.source is not None)
    return next((source for source in sources if source.exists()), path)


def imports_of(file: Path) -> Iterator[Import]:
    """What a .dvc file brings in; nothing where it cannot be read."""
    try:
        tree = YAML(typ="safe").load(file)
        deps = [Path(str(dep["path"])) for dep in tree.get("deps") or ()]
        found = [(Path(str(out["path"])), out.get("md5")) for out in tree.get("outs") or ()]
    except (OSError, YAMLError, KeyError, TypeError, AttributeError, ValueError):
        return  # .dvc itself is a folder
    local = [dep for dep in deps if (file.parent / dep).exists()]
    yield from (Import(local[0] if len(local) == 1 else None, path, digest) for path, digest in found)


def _entry(tree: Mapping[str, Any]) -> Entry:
    keys: dict[Path, tuple[str, ...]] = {}
    for param in tree.get("params") or ():
        for file, names in param.items() if isinstance(param, Mapping) else [(str(paths.PARAMS), [param])]:
            keys[Path(file)] = (*keys.get(Path(file), ()), *map(str, names or ()))
    outs = [path for kind in ("outs", "metrics", "plots") for path in _named(tree.get(kind))]
    digest = hashlib.sha256(json.dumps(tree, sort_keys=True, default=str).encode()).hexdigest()
    return Entry(tree.get("cmd", ""), keys, tuple(_named(tree.get("deps"))), tuple(outs), digest)


def _named(listed: Any) -> Iterator[Path]:
    """The paths of a list in dvc.yaml, whose entries are paths, or mappings from a path to options."""
    for one in listed or ():
        yield Path(next(iter(one)) if isinstance(one, Mapping) else str(one))
