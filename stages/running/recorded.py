"""What dvc.lock says of the results in a folder: the values and inputs that they were made with, and their digests."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.common import paths

LOCK = Path("dvc.lock")


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
    def of(cls, root: Path, *, making: str | None = None, given: Mapping[str, Any] | None = None) -> Recorded:
        """What dvc.lock holds; nothing where it is missing or cannot be read, which DVC tells.

        Args:
            root: folder with dvc.lock.
            making: stage that is ending, for which dvc.lock still has the entry of an earlier run.
            given: section of params.yaml that this stage was given.
        """
        values: dict[str, Any] = {}
        digests: dict[Path, str] = {}
        inputs: dict[str, dict[Path, str]] = {}
        with contextlib.suppress(OSError, YAMLError, KeyError, TypeError, AttributeError, ValueError):
            for name, entry in YAML(typ="safe").load(root / LOCK)["stages"].items():
                if name == making:
                    continue
                for key, value in entry.get("params", {}).get(str(paths.PARAMS), {}).items():
                    _put(values, key, value)
                digests |= {Path(out["path"]): str(out["md5"]) for out in entry.get("outs", ())}
                inputs[name] = {Path(one["path"]): str(one["md5"]) for one in entry.get("deps", ()) if "md5" in one}
        if making is not None:
            values[making] = dict(given or {})
        return cls(values, digests, inputs, making)

    def holds(self, root: Path, path: Path) -> bool:
        """Whether a file is the one that was recorded. Where dvc.lock has nothing at all, nobody can tell otherwise.

        Args:
            root: folder that the path starts at.
            path: path of a file, as in dvc.lock.
        """
        if not self.digests or (self.making is not None and path.is_relative_to(paths.ARTIFACTS / self.making)):
            return True
        return md5(root / path) == self.digests.get(path)

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


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    """Put a value into a tree by its dotted key: dvc.yaml may name single values of a section."""
    *parents, last = key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[last] = value


def md5(path: Path) -> str:
    """The MD5 of a file, by which DVC names it."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()
