"""The MD5 by which DVC names a file or a folder (DVC 3.67, `Tree.as_list` in dvc_data)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def md5(path: Path) -> str:
    """The MD5 of a file, as 32 lower-case hexadecimal digits.

    Raises:
        OSError: there is no such file, or it cannot be read.
    """
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def digest(path: Path) -> str:
    """What DVC calls a file or a folder: the MD5 of a file; of a folder that of the list of its files, and ".dir".

    Raises:
        OSError: there is neither, or a file cannot be read.
    """
    if not path.is_dir():
        return md5(path)
    # Sorted by the whole path, as text: `a-b/x` comes before `a/x`.
    files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
    listed = json.dumps([{"md5": md5(file), "relpath": name} for name, file in files], sort_keys=True)
    return f"{hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest()}.dir"
