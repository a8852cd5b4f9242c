"""dvc.lock and the lists of folders in DVC's cache, read and checked.

A dvc.lock may come from elsewhere: an MLflow run, another commit. Its digests become paths in DVC's cache, and its
paths become files to write, so that `outputs` and `files` check both before anything is opened. `read` and `Recorded`
take the folder's own dvc.lock, and open nothing by it.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.common import paths
from stages.common.errors import DataError
from stages.common.files import atomic_file
from stages.common.printable import printable
from stages.running import digests, dvc_cache

LOCK = Path("dvc.lock")

_FOLDER = ".dir"
_FILE_DIGEST = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"[0-9a-f]{32}(\.dir)?")


class NoOutputs(DataError):
    """A dvc.lock has no outputs of a stage: it never succeeded there, or the file is no dvc.lock."""


@dataclass(frozen=True)
class Output:
    """An output of a stage's last success.

    Args:
        path: its path, relative to the folder of dvc.lock and inside it.
        digest: its MD5, of 32 hexadecimal digits; ".dir" follows for a folder.
    """

    path: Path
    digest: str

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.digest.endswith(_FOLDER)


def outputs(text: str, stage: str, *, name: str, fix: str) -> list[Output]:
    """The outputs of a stage that a dvc.lock names, given as text; see `outputs_in`."""
    return outputs_in(_parsed(text), stage, name=name, fix=fix)


def tree_of(text: str) -> dict[str, Any]:
    """The tree of a dvc.lock, or of an entry of DVC's run cache, given as text; empty where it is neither."""
    return copy.deepcopy(_parsed(text))


def _parsed(text: str) -> dict[str, Any]:
    """As `tree_of`; nobody may change it."""
    try:
        tree = _loaded(text)
    except (YAMLError, ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


@functools.lru_cache(maxsize=128)  # each takes some 30 ms, and a comparison looks at those of all runs of a recipe
def _loaded(text: str) -> Any:
    """What YAML says, whatever it is; nobody may change it."""
    return YAML(typ="safe").load(text)


def outputs_in(tree: Any, stage: str, *, name: str, fix: str) -> list[Output]:
    """The outputs of a stage that a dvc.lock names.

    Args:
        tree: the content of the dvc.lock.
        stage: name of the stage.
        name: name of the dvc.lock, for messages.
        fix: the command or edit that helps where it is wrong.

    Raises:
        NoOutputs: it has none of this stage.
        DataError: a digest is not one of DVC's, or a path leaves the folder.
    """
    try:
        found = [(out["path"], out["md5"]) for out in tree["stages"][stage]["outs"]]
    except (KeyError, TypeError, ValueError):
        found = []
    if not found:
        raise NoOutputs(f"{name}: no outputs of the stage {stage}", fix)
    where = f"{name}: stage {stage}"
    return [
        Output(_checked_path(path, f"{where}: path", fix), _checked_digest(digest, _DIGEST, f"{where}: md5", fix))
        for path, digest in found
    ]


def all_outputs(stages: Mapping[str, Any], *, name: str, fix: str) -> dict[str, list[Output]]:
    """The outputs of all stages that have any, by stage.

    Args:
        stages: the entries of a dvc.lock, by the stages' names.
        name: name of the dvc.lock, for messages.
        fix: the command or edit that helps where it is wrong.

    Raises:
        DataError: as `outputs_in`.
    """
    with_outs = [stage for stage, entry in stages.items() if entry.get("outs")]
    return {stage: outputs_in({"stages": stages}, stage, name=name, fix=fix) for stage in with_outs}


def files(output: Output, *, name: str, fix: str) -> list[tuple[Path, Path]]:
    """The files of an output, each as its path and its path in DVC's cache, whether it is there or not.

    The cache's entry of a folder lists the folder's files. Where this entry is missing, it is the one file returned.

    Args:
        output: the output.
        name: name of what the output belongs to, for messages.
        fix: the command or edit that helps where the entry is wrong.

    Raises:
        DataError: the list is not one of DVC's, a digest in it is not, or a path leaves the folder.
    """
    entry = _cached(output.digest)
    if not output.is_folder or not entry.is_file():
        return [(output.path, entry)]
    where = f"{name}: {entry}"
    try:
        listed = [(one["relpath"], one["md5"]) for one in json.loads(entry.read_text(encoding="utf-8"))]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError(f"{where}: not a list of DVC's of the files in {output.path}", fix) from None
    found = {
        output.path / _checked_path(path, f"{where}: relpath", fix): _cached(
            _checked_digest(digest, _FILE_DIGEST, f"{where}: md5", fix)
        )
        for path, digest in listed
    }
    if len(found) != len(listed) or any(path in found for file in found for path in file.parents):
        raise DataError(f"{where}: one path is named twice, or as a file and as a folder", fix)
    return list(found.items())


def read(root: Path) -> dict[str, Any]:
    """The tree of the dvc.lock in a folder; empty where there is none.

    Raises:
        DataError: it is not what DVC writes.
    """
    try:
        tree = copy.deepcopy(_loaded((root / LOCK).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (YAMLError, ValueError, RecursionError) as error:
        raise _no_lock(" ".join(str(error).split())) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict) or not isinstance(tree.get("stages", {}), dict):
        raise _no_lock(f"expected stages by name, found {_shown(tree)}")
    return tree


def _no_lock(reason: str) -> DataError:
    # HEAD: after a merge with conflicts, git does not know which of the two files is meant.
    return DataError(f"{LOCK}: cannot be read, such as after a merge: {reason[:200]}", f"git checkout HEAD -- {LOCK}")


def entries(root: Path = Path()) -> dict[str, dict[str, Any]]:
    """The entries of the stages that have succeeded, by name; none where dvc.lock is missing or not what DVC writes.

    Args:
        root: folder of dvc.lock.
    """
    with contextlib.suppress(DataError, OSError):
        return _entries_in(read(root))
    return {}


def entries_of(text: str) -> dict[str, dict[str, Any]]:
    """The entries of the stages in a dvc.lock that is given as text, by name; none where it cannot be read."""
    return _entries_in(tree_of(text))


def _entries_in(tree: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of the stages in the tree of a dvc.lock, by name; what is none is left out."""
    stages = tree.get("stages")
    found = stages.items() if isinstance(stages, dict) else ()
    return {str(name): one for name, one in found if isinstance(one, dict)}


def write_entry(root: Path, stage: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a stage's entry in dvc.lock, and nothing else in the file.

    Args:
        root: folder of dvc.lock.
        stage: name of a stage that it has.
        change: function that changes the entry in place.
    """
    yaml = YAML()
    tree = yaml.load(root / LOCK)
    change(tree["stages"][stage])
    with atomic_file(root / LOCK) as stream:
        yaml.dump(tree, stream)


def text_without(root: Path, stage: str) -> str:
    """The text of dvc.lock without a stage's entry."""
    return without((root / LOCK).read_text(encoding="utf-8"), stage)


def without(found: str, stage: str) -> str:
    """The text of a dvc.lock, given as text, without a stage's entry."""
    yaml = YAML()
    tree = yaml.load(found)
    tree.get("stages", {}).pop(stage, None)
    text = io.StringIO()
    yaml.dump(tree, text)
    return text.getvalue()


@dataclass(frozen=True)
class Recorded:
    """The successes of the stages.

    Args:
        values: sections of params.yaml that the stages which have succeeded were given, by name.
        digests: MD5 of each file or folder that they have made, by path.
        inputs: MD5 of each file or folder that each of them has read, by stage and path.
        making: stage that is ending at this moment, whose files DVC records next; None where none is.
    """

    values: dict[str, Any] = field(default_factory=dict)
    digests: dict[Path, str] = field(default_factory=dict)
    inputs: dict[str, dict[Path, str]] = field(default_factory=dict)
    making: str | None = None

    @classmethod
    def of(cls, root: Path, *, making: str | None = None, given: Mapping[str, object] | None = None) -> Recorded:
        """What dvc.lock holds; nothing where it is missing or cannot be read, which DVC tells.

        Args:
            root: folder with dvc.lock.
            making: stage that is ending, for which dvc.lock still has the entry of an earlier run.
            given: values that this stage was given, by dotted key.
        """
        found: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(OSError, ValueError):
            found = _entries_in(_parsed((root / LOCK).read_text(encoding="utf-8")))
        return cls._in(found, making, given or {})

    @classmethod
    def of_text(cls, text: str) -> Recorded:
        """What a dvc.lock holds that is given as text; nothing where it cannot be read."""
        return cls._in(_entries_in(_parsed(text)), None, {})

    @classmethod
    def of_entries(cls, stages: Mapping[str, Mapping[str, Any]]) -> Recorded:
        """What the entries of a dvc.lock hold, by stage."""
        return cls._in(stages, None, {})

    @classmethod
    def _in(cls, stages: Mapping[str, Mapping[str, Any]], making: str | None, given: Mapping[str, object]) -> Recorded:
        values: dict[str, Any] = {}
        own: list[tuple[str, Any]] = []
        others: list[tuple[str, Any]] = []
        digests: dict[Path, str] = {}
        inputs: dict[str, dict[Path, str]] = {}
        with contextlib.suppress(KeyError, TypeError, AttributeError):
            for name, entry in stages.items():
                if name == making:
                    continue
                for key, value in entry.get("params", {}).get(str(paths.PARAMS), {}).items():
                    (own if _section(key) == name else others).append((key, value))
                digests |= {Path(out["path"]): str(out["md5"]) for out in entry.get("outs", ())}
                inputs[name] = {Path(one["path"]): str(one["md5"]) for one in entry.get("deps", ()) if "md5" in one}
        own += [(key, value) for key, value in given.items() if _section(key) == making]
        others += [(key, value) for key, value in given.items() if _section(key) != making]
        # Some stages have single values of another one's section. What they were given says nothing of its results.
        for key, value in [*((key, value) for key, value in others if _section(key) not in stages), *own]:
            _put(values, key, copy.deepcopy(value))
        return cls(values, digests, inputs, making)

    def holds(self, root: Path, path: Path) -> bool:
        """Whether a file is the one that was recorded. Where dvc.lock has nothing at all, nobody can tell otherwise.

        Args:
            root: folder that the path starts at.
            path: path of a file, as in dvc.lock.
        """
        if not self.digests or (self.making is not None and path.is_relative_to(paths.ARTIFACTS / self.making)):
            return True
        return digests.md5(root / path) == self.digests.get(path)

    def outdated(self) -> dict[str, str]:
        """The stages whose results were made from other results than those here, each with the stage that has new ones.

        A stage that comes after such a stage is one too: the figures of all of them are those of an earlier run.
        """
        found: dict[str, str] = {}
        while True:
            more = {}
            for stage in self.inputs.keys() - found.keys():
                for path, digest in self.inputs[stage].items():
                    maker = path.parts[1] if path.parts[:1] == (str(paths.ARTIFACTS),) and len(path.parts) > 1 else ""
                    if path in self.digests and (self.digests[path] != digest or maker in found):
                        more[stage] = found.get(maker, maker)
            if not more:
                return found
            found |= more


def _section(key: str) -> str:
    """The section of a dotted key."""
    return key.partition(".")[0]


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    """Put a value into a tree by its dotted key: dvc.yaml may name single values of a section."""
    *parents, last = key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[last] = value


def _checked_digest(value: Any, pattern: re.Pattern[str], where: str, fix: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        expected = "32 hexadecimal digits" + (f', and "{_FOLDER}" for a folder' if pattern is _DIGEST else "")
        raise DataError(f"{where}: expected {expected}, found {_shown(value)}", fix)
    return value


def _checked_path(value: Any, where: str, fix: str) -> Path:
    """A path that stays inside the folder that it starts from."""
    path = PurePosixPath(value) if isinstance(value, str) else PurePosixPath()
    leaves = path.is_absolute() or ".." in path.parts or not path.parts
    if leaves or not isinstance(value, str) or printable(value) != value or "\n" in value:
        raise DataError(f"{where}: expected a path inside the folder, found {_shown(value)}", fix)
    return Path(path)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _cached(digest: str) -> Path:
    """The path in DVC's cache of a file with this checked MD5, whether it is there or not."""
    return dvc_cache.folder() / "files" / "md5" / digest[:2] / digest[2:]
