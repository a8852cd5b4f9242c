"""What a file that should be data is instead: empty, a web page, or a pointer to a file in Git LFS.

Each of them has a SHA-256. To pin it would only make the mistake last.
"""

from __future__ import annotations

from pathlib import Path

from stages.common.errors import DataError

#: The first bytes in which a file shows what it is.
_HEAD = 512


def other_contents(path: Path) -> tuple[str, str] | None:
    """What a file is instead of data, and what to do about it; None if it may be data."""
    with open(path, "rb") as stream:
        head = stream.read(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if path.stat().st_size == 0:
        return "an empty file", "fetch the file again where it comes from"
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return "a Git LFS pointer, which names the file", "git lfs pull, in the repository that it is from"
    if head.startswith((b"<!doctype html", b"<html", b"<head")):
        return "an HTML page, such as a login or a preview", "open the address in a browser, and take the download link"
    return None


def refuse_other_contents(path: Path, *, name: str, fix: str) -> None:
    """Refuse a file that is empty, a web page or a Git LFS pointer.

    Args:
        path: path of the file.
        name: the user's name for it.
        fix: what else the user can do about it.

    Raises:
        DataError: it is one of them.
    """
    if (found := other_contents(path)) is not None:
        what, how = found
        raise DataError(f"{name}: expected data, found {what}", f"{how}; or {fix}")
