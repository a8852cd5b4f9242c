"""Files that are whole or absent: written under a temporary name, flushed to disk, then renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from stages.common.errors import DataError
from stages.common.locks import locked_if_possible

_CHUNK = 1 << 20
#: What Python refuses to read as a whole number (sys.set_int_max_str_digits).
_LONG_NUMBER = "a whole number of more than 4,300 digits"


@contextlib.contextmanager
def atomic_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file for writing that appears at ``path`` only if the block ends without an error.

    Args:
        path: path of the file; missing folders on the way are made.
        mode: "w" for UTF-8 text with line feeds, "wb" for bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    with naming(path), _temporary(path, Path.touch) as temporary:
        with open(temporary, mode, **text) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    sync_folder(path.parent)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put a path into an error of the disk within the block that has none: of a write, the system names no file."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in _OF_THE_DISK:
            error.filename = str(path)
        raise


#: Errors of writing to an open file: the disk is full, or a quota or limit is reached, or it fails.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which replaces ``path`` only if the block ends without an error.

    An older folder at ``path`` is moved aside first and removed last, so that one of the two is always on disk. If this
    process dies in between, `sweep` puts the old one back.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    with naming(path), _temporary(path, Path.mkdir) as temporary:
        yield temporary
        for found in sorted(temporary.rglob("*"), reverse=True):  # a folder after its contents
            if found.is_dir():
                sync_folder(found)
            else:
                _sync_file(found)
        sync_folder(temporary)
        with _moved_aside(path):
            os.replace(temporary, path)
    sync_folder(path.parent)


def sweep(path: Path) -> None:
    """Remove what killed writers of ``path`` have left beside it, and put an old folder back at ``path``.

    A living writer holds a lock on its temporary file or folder, which tells it from one that a killed writer left.
    """
    for old in _beside(path, _OLD):
        with locked_if_possible(old) as ours:
            if ours and not path.exists():
                os.replace(old, path)
    for left in (*_beside(path, _NEW), *_beside(path, _OLD)):
        with locked_if_possible(left) as ours:
            if ours:
                _remove(left)


#: Endings of temporary names: of what is being written, and of an old folder that is moved aside.
_NEW, _OLD = ".tmp", ".old"


def _beside(path: Path, end: str) -> list[Path]:
    try:
        return [at for at in path.parent.iterdir() if at.name.startswith(f".{path.name}.") and at.suffix == end]
    except OSError:  # the folder is missing, or may not be read
        return []


@contextlib.contextmanager
def _temporary(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """A new file or folder beside ``path``, locked for this process until the end of the block, and then removed."""
    while True:
        # A random name: two containers that share the folder may have processes with the same number.
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_NEW}")
        make(temporary)
        with locked_if_possible(temporary) as ours:
            if ours is False or not temporary.exists():  # swept before it was locked
                continue
            try:
                yield temporary
            finally:
                _remove(temporary)
            return


@contextlib.contextmanager
def _moved_aside(path: Path) -> Iterator[None]:
    """Move ``path`` aside for the block. It is put back if the block fails, and removed otherwise."""
    if not path.exists():
        yield
        return
    old = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_OLD}")
    with locked_if_possible(path):
        os.replace(path, old)
        try:
            yield
        except BaseException:
            os.replace(old, path)
            raise
        _remove(old)


def _remove(path: Path) -> None:
    """Remove a file or folder as far as that is possible; it may be missing."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _sync_file(path: Path) -> None:
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with the order of keys as given. NaN and infinity are refused."""
    with atomic_file(path) as stream:
        json.dump(value, stream, ensure_ascii=False, indent=2, allow_nan=False)
        stream.write("\n")


def write_jsonl(path: Path, values: Iterable[Any]) -> int:
    """Write one JSON value a line and return their number. NaN and infinity are refused."""
    count = 0
    with atomic_file(path) as stream:
        for value in values:
            stream.write(json_line(value))
            count += 1
    return count


def json_line(value: Any) -> str:
    """A value as a line of JSON, its line feed included. NaN and infinity are refused."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path, *, made_by: str) -> Any:
    """Read a JSON file.

    Args:
        path: path of the file.
        made_by: the command that makes the file, for the message when it is missing or broken.

    Raises:
        DataError: the file is missing, is not UTF-8 or is not JSON.
    """
    return parse_json(read_text(path, made_by=made_by), path, made_by=made_by)


def read_jsonl(path: Path, *, made_by: str) -> Iterator[tuple[int, Any]]:
    """Yield (line number from 1, value) for every line of a JSONL file; errors as in `read_json`."""
    try:
        with open(path, encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                yield number, parse_json(line, path, line=number, made_by=made_by)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", made_by) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})", made_by) from None


def read_text(path: Path, *, made_by: str) -> str:
    """Read a UTF-8 text file; errors as in `read_json`."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", made_by) from None
    except IsADirectoryError:
        raise DataError(f"{path}: expected a file, found a folder", made_by) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})", made_by) from None


def parse_json(text: str, path: Path | str, *, made_by: str, line: int | None = None) -> Any:
    """Parse JSON that was read from ``path``.

    Args:
        text: the JSON.
        path: what it was read from.
        made_by: the command that makes the file.
        line: number of the text's only line in the file, from 1; None: the text is the whole file.

    Raises:
        DataError: the text is not JSON, and the message names the file, the line and the column; or an object gives a
            key twice, and nothing says which value is meant; or it is nested too deeply, or a number is too long.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [key for key, _ in pairs]
            twice = next(key for key in names if names.count(key) > 1)
            where = f"{path}, line {line}" if line else f"{path}"
            raise DataError(f"{where}: {twice!r}: expected one value; the key is there twice or more", made_by)
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        where = f"line {line or error.lineno}, column {error.colno}"
        raise DataError(f"{path}: not valid JSON at {where}: {error.msg.removesuffix(' at')}", made_by) from None
    except (ValueError, RecursionError) as error:  # of Python itself, whose words are about Python
        where = f"{path}, line {line}" if line else f"{path}"
        found = "lists or objects nested too deeply" if isinstance(error, RecursionError) else _LONG_NUMBER
        raise DataError(f"{where}: expected JSON that can be read; found {found}", made_by) from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as 64 lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
