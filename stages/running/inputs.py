"""What a stage read, compared with what there is when it ends: DVC hashes values, code and inputs after the command.

`dvc repro` runs a stage and hashes its params and deps only then. A value that is edited meanwhile would be recorded
beside outputs that another value made, in dvc.lock and in DVC's run cache. So a stage keeps what it began with. At its
end it refuses to succeed if that has changed: DVC records nothing then.

A run of several stages began with one params.yaml, and tracking has its values. `Begun` keeps them, with the code, and
each stage that starts later is compared with them.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from stages.common import paths
from stages.common.errors import ConfigError, TemporaryFailure
from stages.common.files import sha256
from stages.params import reading
from stages.running import digests, dvc_yaml
from stages.running.dvc_yaml import PIPELINE, Entry

#: Larger files are compared by size, time and inode alone, as DVC itself does before it hashes one.
HASHED_BYTES = 16 << 20
#: An editor may be writing the file: a difference is looked at again after so many seconds.
_AGAIN_SECONDS = 0.5

MISSING = "missing"

#: What is said of a run that would go on with other values than it began with, and how that is fixed.
OTHER_THAN_BEGUN = "the run began with other values or code, which its earlier stages have used and tracking has:"
_CHANGED = "has changed since the run began"
RUN_AGAIN = "run the same command again; what is done already is not done again"


class Mark(NamedTuple):
    """A file as it is: size, time of change and inode, and the SHA-256 of one that is not large."""

    size: int
    changed_ns: int
    inode: int
    sha256: str | None

    def same_as(self, other: Mark) -> bool:
        """Whether both are of the same content, as far as that is known."""
        if self[:3] == other[:3]:
            return True
        return self.sha256 is not None and self.sha256 == other.sha256


@dataclass(frozen=True)
class Inputs:
    """What a stage reads.

    Args:
        entry: the stage in dvc.yaml.
        values: values by dotted key.
        files: marks by path, those in folders too.
    """

    entry: Entry
    values: Mapping[str, object]
    files: Mapping[Path, Mark] = field(default_factory=dict)

    @classmethod
    def of(cls, entry: Entry, before: Inputs | None = None) -> Inputs:
        """What is there.

        Args:
            entry: the stage in dvc.yaml.
            before: what was there earlier; a file that was not touched since is not hashed again.
        """
        known = before.files if before else {}
        files = {path: _mark(path, known.get(path)) for dep in entry.deps for path in _files_in(dep)}
        return cls(entry, _values(entry), files)  # values last: they are what is edited, and DVC reads them next

    def digest(self) -> str:
        """A hash of the values and of the small files, by which two processes can tell that they read the same."""
        tree = {"values": self.values, "files": {str(path): mark.sha256 for path, mark in self.files.items()}}
        return hashlib.sha256(json.dumps(tree, sort_keys=True, default=str).encode()).hexdigest()

    def changes(self, now: Inputs, since: str) -> list[str]:
        """A line for each value and each file that differs.

        Args:
            now: what is there later.
            since: what began when this was there, such as "the stage".
        """
        files = [
            f"{path} has {_how(self.files.get(path), now.files.get(path))} since {since} began"
            for path in sorted({*self.files, *now.files})
            if not _same(self.files.get(path), now.files.get(path))
        ]
        return [*value_changes(self.values, now.values, f"when {since} began"), *files]


@dataclass(frozen=True)
class Begun:
    """What a run of several stages began with.

    Args:
        values: the values of params.yaml by dotted key.
        code: MD5 of each file that a stage depends on and none makes, by path; DVC records MD5 too.
        stages: digest of each stage's entry in dvc.yaml, by name.
        deps: the paths that each stage depends on and none makes, by its name, there or not.
        files: MD5 of dvc.yaml and params.yaml by path, so that they need no second reading where they are the same.
    """

    values: Mapping[str, object]
    code: Mapping[str, str]
    stages: Mapping[str, str]
    deps: Mapping[str, list[str]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path = Path()) -> Begun:
        """What is there.

        Args:
            root: folder with params.yaml and dvc.yaml.
        """
        files = _read_by_all(root)  # before they are read: a file that is written meanwhile is read once more later
        entries = dvc_yaml.entries(root)
        outs = [out for entry in entries.values() for out in entry.outs]
        deps = {
            name: [dep.as_posix() for dep in entry.deps if not any(dep.is_relative_to(out) for out in outs)]
            for name, entry in entries.items()
        }
        code = _md5_of_files(root, {dep for names in deps.values() for dep in names})
        values = _tree_values(_tree(root / paths.PARAMS), ())
        return cls(values, code, {name: entry.digest for name, entry in entries.items()}, deps, files)

    def changes(self, stage: str, root: Path = Path()) -> list[str]:
        """A line for each value and each file that a stage would read and that differs from the run's beginning.

        Args:
            stage: name of the stage; a .dvc file, which DVC runs as a stage, reads none of these.
            root: folder with params.yaml and dvc.yaml.
        """
        if self.files and self.files == _read_by_all(root):
            names = self.deps.get(stage, [])
            there = _md5_of_files(root, names)
            return [f"{name} {_CHANGED}" for name in sorted(names) if self.code.get(name) != there.get(name)]
        entry = dvc_yaml.entries(root).get(stage)
        if entry is None and stage not in self.stages:
            return []
        now = Begun.of(root)
        lines = []
        if now.stages.get(stage) != self.stages.get(stage):
            lines.append(f"{PIPELINE}: the stage {stage} has changed since the run began")
        if entry is not None:
            keys = entry.keys.get(paths.PARAMS, ())
            lines += value_changes(chosen(self.values, keys), chosen(now.values, keys), "when the run began")
            names = sorted(dep.as_posix() for dep in entry.deps)
            lines += [f"{name} {_CHANGED}" for name in names if self._differs(name, now)]
        return lines

    def _differs(self, name: str, now: Begun) -> bool:
        return (name in self.code or name in now.code) and self.code.get(name) != now.code.get(name)

    def section(self, key: str = "") -> Any:
        """What there is for a key of dvc.yaml: a value, or the values of a section as a tree; "" is all of them."""
        if key in self.values:
            return self.values[key]
        tree: dict[str, Any] = {}
        for name, value in self.values.items():
            if _is_below(name, (key,)) or not key:
                *folders, last = name[len(key) :].strip(".").split(".")
                into = tree
                for folder in folders:
                    into = into.setdefault(folder, {})
                into[last] = value
        return tree

    def to_json(self) -> str:
        """As text, for a file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Begun:
        """From the text of `to_json`."""
        return cls(**json.loads(text))


def changed_since(entry: Entry, moment: float) -> list[str]:
    """A line for each Python file of a stage that was written later than a moment.

    Args:
        entry: the stage in dvc.yaml.
        moment: seconds since 1970.
    """
    now = time.time()
    modules = (dep for dep in entry.deps if dep.suffix == ".py" and dep.is_file())
    # A time in the future is that of a file server whose clock is ahead.
    written = (dep for dep in modules if moment < dep.stat().st_ctime <= now)
    return [f"{dep} has changed while the stage was starting" for dep in written]


def changes(before: Inputs) -> list[str]:
    """A line for each value and each file of a stage that has changed since it began; none if nothing has."""
    found = before.changes(Inputs.of(before.entry, before), "the stage")
    if found:
        time.sleep(_AGAIN_SECONDS)
        found = before.changes(Inputs.of(before.entry, before), "the stage")
    return found


def stamp(path: Path) -> tuple[int, int, int] | None:
    """Size, time of change and inode of a file, which differ once it is written again; None where it is missing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def values_now(before: Inputs) -> dict[str, object]:
    """The values of a stage as they are at this moment."""
    return _values(before.entry)


def with_values_of(before: Inputs, tree: Any) -> Inputs:
    """The same inputs with the values of a params.yaml that the stage has read just now."""
    keys = before.entry.keys.get(paths.PARAMS, ())
    others = {key: value for key, value in before.values.items() if not _is_below(key, keys)}
    return replace(before, values=others | _tree_values(tree, keys))


def refused(lines: list[str], *, what: str, fix: str) -> TemporaryFailure:
    """The error of a stage or a run whose values, code or inputs have changed."""
    return TemporaryFailure("\n".join([what, *(f"  {line}" for line in lines)]), fix)


def value_changes(before: Mapping[str, object], now: Mapping[str, object], when: str) -> list[str]:
    """A line for each value that differs, such as ``judge.seed was 1 when the stage began, and is 2 now``.

    Args:
        before: values by dotted key.
        now: values of a later time.
        when: the earlier time in words, such as "when the stage began".
    """
    return [
        f"{key} was {_shown(before, key)} {when}, and is {_shown(now, key)} now"
        for key in sorted({*before, *now})
        if key not in before or key not in now or before[key] != now[key]
    ]


def chosen(values: Mapping[str, object], keys: Collection[str]) -> dict[str, object]:
    """The values by dotted key that are, or are below, some keys."""
    return {key: value for key, value in values.items() if _is_below(key, keys)}


def _shown(values: Mapping[str, object], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False, default=str) if key in values else MISSING


def _how(before: Mark | None, now: Mark | None) -> str:
    return "appeared" if before is None else "gone" if now is None else "changed"


def _same(before: Mark | None, now: Mark | None) -> bool:
    return before is not None and now is not None and before.same_as(now)


def _read_by_all(root: Path) -> dict[str, str]:
    """MD5 of dvc.yaml and params.yaml by path; of one that is missing there is none."""
    return _md5_of_files(root, (str(PIPELINE), str(paths.PARAMS)))


def _md5_of_files(root: Path, names: Iterable[str]) -> dict[str, str]:
    """MD5 by path below ``root`` of those paths that are files."""
    return {name: digests.md5(root / name) for name in names if (root / name).is_file()}


def _tree(path: Path) -> Any:
    """A YAML file's content; nothing where it is missing or half written."""
    try:
        return reading.read_values(path)
    except (ConfigError, OSError):
        return None


def _values(entry: Entry) -> dict[str, object]:
    found: dict[str, object] = {}
    for file, keys in entry.keys.items():
        prefix = "" if file == paths.PARAMS else f"{file}:"
        found |= {f"{prefix}{key}": value for key, value in _tree_values(_tree(file), keys).items()}
    return found


def _tree_values(tree: Any, keys: tuple[str, ...]) -> dict[str, object]:
    """The values of a params file by dotted key: those that are, or are below, some keys; all without keys."""
    flat = reading.flatten(reading.plain(tree)) if isinstance(tree, Mapping) else {}
    return chosen(flat, keys) if keys else flat


def _is_below(key: str, keys: Collection[str]) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in keys)


def _files_in(path: Path) -> Iterator[Path]:
    """A file itself, or every file in a folder; nothing where there is neither."""
    if path.is_dir():
        for folder, _, names in os.walk(path):
            yield from (Path(folder, name) for name in names)
    elif path.exists():
        yield path


def _mark(path: Path, known: Mark | None) -> Mark:
    at = stamp(path)
    if at is not None and known is not None and known[:3] == at:
        return known
    try:
        if at is not None:
            return Mark(*at, sha256(path) if at[0] <= HASHED_BYTES else None)
    except OSError:
        pass
    return Mark(-1, 0, 0, MISSING)  # removed at this moment, or a link that leads nowhere
