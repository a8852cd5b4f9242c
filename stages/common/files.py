"""Files that are whole or absent: written under a temporary name, flushed to disk, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from stages.common.errors import DataError

_CHUNK = 1 << 20


@contextlib.contextmanager
def atomic_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file for writing that appears at ``path`` only if the block ends without an error.

    Args:
        path: where the file will be; folders on the way are made.
        mode: "w" for UTF-8 text with line feeds, "wb" for bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with open(temporary, mode, **text) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which takes the place of ``path`` only if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for file in sorted(temporary.rglob("*")):
            if file.is_file():
                with open(file, "rb") as stream:
                    os.fsync(stream.fileno())
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(path.parent)


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
            stream.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
    return count


def read_json(path: Path, *, made_by: str) -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        made_by: the command that makes it, told to the user when it is missing or broken.

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
    """Parse JSON read from ``path``; a DataError names the file, the line and the column of a mistake."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {line or error.lineno}, column {error.colno}"
        raise DataError(f"{path}: not valid JSON at {where}: {error.msg}", made_by) from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as 64 lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
