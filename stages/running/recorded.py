"""What dvc.lock says of the results in a folder: the values that they were made with, and their digests."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.common import paths
from stages.params import reading

LOCK = Path("dvc.lock")


@dataclass(frozen=True)
class Recorded:
    """The successes of the stages.

    Args:
        values: the values of params.yaml by dotted key, of the stages that have succeeded.
        digests: MD5 of each file or folder that they have made, by path.
    """

    values: dict[str, Any] = field(default_factory=dict)
    digests: dict[Path, str] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path) -> Recorded:
        """What dvc.lock holds; nothing where it is missing or cannot be read, which DVC tells.

        Args:
            root: folder with dvc.lock.
        """
        values: dict[str, Any] = {}
        digests: dict[Path, str] = {}
        with contextlib.suppress(OSError, YAMLError, KeyError, TypeError, AttributeError, ValueError):
            for entry in YAML(typ="safe").load(root / LOCK)["stages"].values():
                values |= reading.flatten(entry.get("params", {}).get(str(paths.PARAMS), {}))
                digests |= {Path(out["path"]): str(out["md5"]) for out in entry.get("outs", ())}
        return cls(values, digests)

    def holds(self, root: Path, path: Path) -> bool:
        """Whether a file is the one that was recorded. Where dvc.lock has nothing at all, nobody can tell otherwise.

        Args:
            root: folder that the path starts at.
            path: path of a file, as in dvc.lock.
        """
        if not self.digests:
            return True
        with open(root / path, "rb") as stream:
            return hashlib.file_digest(stream, "md5").hexdigest() == self.digests.get(path)
