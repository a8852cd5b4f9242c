"""Disks that are small, full or read-only: real file systems, mounted for a test, which is skipped where that fails."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """For the block the folder cannot be written, not even by root."""
    with _mounted(folder, "--bind", str(folder)):
        _mount("-o", "remount,bind,ro", str(folder))
        yield


@contextlib.contextmanager
def small(folder: Path, size: str) -> Iterator[None]:
    """For the block the folder is an empty disk of a size such as "64k"."""
    folder.mkdir(exist_ok=True)
    with _mounted(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        yield


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """For the block the folder is a disk that holds the file ``fills`` and takes no further byte."""
    with small(folder, "64k"):
        fill(folder)
        yield


def fill(folder: Path) -> Path:
    """Write zeros to a disk until it takes no more; returns their file."""
    path = folder / "fills"
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    return path


@contextlib.contextmanager
def _mounted(folder: Path, *arguments: str) -> Iterator[None]:
    _mount(*arguments, str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
        reason = done.stderr.strip() if done.returncode else ""
    except FileNotFoundError as error:
        reason = str(error)
    if reason:
        pytest.skip(f"no file system can be mounted here: {reason}")
