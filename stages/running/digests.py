"""The MD5 by which DVC names a file, or a folder: that of the list of the folder's files (DVC 3.67)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

#: What follows the MD5 of a folder.
FOLDER = ".dir"


def of_file(path: Path) -> str:
    """The MD5 of a file.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def of(path: Path) -> str:
    """The digest of a file or a folder; errors as `of_file`."""
    if not path.is_dir():
        return of_file(path)
    # In the order of the paths as texts, in which "a.txt" comes before "a/b".
    files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
    listed = json.dumps([{"md5": of_file(file), "relpath": name} for name, file in files], sort_keys=True)
    return hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest() + FOLDER
