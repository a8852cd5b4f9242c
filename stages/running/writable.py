"""Looks at a stage's start whether it can write what it will write, so that no work is done in vain."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from stages.common import paths
from stages.common.errors import InputOutputError, NoSpace
from stages.params import whole
from stages.running import dvc_cache, environment
from stages.running.console import say
from stages.running.machine import existing

#: Bytes that are written to see whether a folder takes any: a disk that is full to the last block takes none.
PROBE = 4096


def check(program: str) -> None:
    """Refuse a stage whose results could not be written, and say what else cannot be kept.

    Written are the stage's folder under artifacts/, DVC's cache where DVC runs the stage, temporary files and .cache.
    Most stages do their work without .cache; one that cannot calls `require`.

    Args:
        program: name of the program; one that is no stage writes no results, and passes.

    Raises:
        InputOutputError: a folder of results or of temporary files cannot be written, such as one that is read-only.
        NoSpace: its disk is full.
    """
    if program not in whole.Params.model_fields or environment.worker():
        return
    dvc_cache.sweep()  # before the disk is looked at
    for folder in (paths.ARTIFACTS / program, *dvc_cache.written()):
        require(folder)
    _check_temporary()
    if error := problem(paths.CACHE):
        say(f"{paths.CACHE}: {error.strerror}: nothing is kept there, and an interrupted {program} begins from scratch")


def require(folder: Path) -> None:
    """Refuse to work where a folder cannot be written.

    Raises:
        InputOutputError: it cannot, or the folder above it where it is yet to be made.
        NoSpace: its disk is full.
    """
    if (error := problem(folder)) is None:
        return
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    fix = "free some space" if full else "make the folder writable"
    if error.errno == errno.ENOTDIR:
        fix = f"remove {existing(folder)}, which is a file"
    kind = NoSpace if full else InputOutputError
    raise kind(f"{folder}: cannot be written: {error.strerror}", f"{fix}, and run the same command again")


def problem(folder: Path) -> OSError | None:
    """Why a file cannot be written in a folder, or in the folder above it that is there already; None if it can.

    Nothing is left behind.
    """
    try:
        with tempfile.TemporaryFile(dir=existing(folder), prefix=".probe-") as stream:
            stream.write(bytes(PROBE))
            stream.flush()
    except OSError as error:
        return error
    return None


def _check_temporary() -> None:
    """Refuse to work where no folder takes temporary files; a TMPDIR that does not is told.

    Raises:
        InputOutputError: no folder takes them.
    """
    named = os.environ.get("TMPDIR")
    try:
        used = tempfile.gettempdir()
    except FileNotFoundError as error:
        fix = "export TMPDIR=FOLDER with a folder that can be written"
        raise InputOutputError(f"temporary files: {error.strerror}", fix) from None
    if named and Path(used) != Path(named).absolute():
        say(f"TMPDIR={named} cannot be written: temporary files go to {used}")
