"""What a file's first bytes say: gzip, which is unpacked; another format or encoding, which is named and refused."""

from __future__ import annotations

import codecs
import gzip
import shlex
import zlib
from pathlib import Path, PurePosixPath

from stages.common.errors import DataError
from stages.download.contents import refuse_other_contents

#: The largest unpacked file in bytes; 1 GiB of gzip can hold 1 TiB of zeros.
LARGEST = 4 << 30

_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"
#: First bytes of formats that are not read, what they are, and what to do.
_REFUSED = (
    (_GZIP, "a gzip file within a gzip file", "unpack it with gunzip"),
    (b"PK\x03\x04", "a ZIP file, such as an Excel workbook", "unpack it, or save the sheet as CSV in UTF-8"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file", "save the sheet as CSV in UTF-8"),
    (b"BZh", "a bzip2 file", "unpack it with bunzip2"),
    (b"\xfd7zXZ", "an xz file", "unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "unpack it with unzstd"),
    (b"ARROW1", "an Arrow file", "write it as Parquet, such as with datasets' Dataset.to_parquet"),
    (b"%PDF", "a PDF", "name the file with the rows"),
)
_UTF16 = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def unpacked(path: Path, *, name: str, fix: str) -> tuple[Path, bool]:
    """The file itself or, if it is gzip, one beside it with what it holds; and whether it was gzip.

    Raises:
        DataError: the file is damaged, or in a format that is not read.
    """
    if not _head(path).startswith(_GZIP):
        _refuse_formats(path, name, fix)
        return path, False
    target = path.with_name(f"{path.name}.unpacked")
    size = 0
    try:
        with gzip.open(path) as packed, open(target, "wb") as stream:
            while chunk := packed.read(_CHUNK):
                size += len(chunk)
                if size > LARGEST:
                    raise DataError(f"{name}: more than {LARGEST:,} bytes when unpacked, the most that is read", fix)
                stream.write(chunk)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name}: not a whole gzip file: {error}", f"gzip -t says the same of a copy; {fix}") from None
    refuse_other_contents(target, name=name, fix=fix)
    _refuse_formats(target, name, fix)
    return target, True


def is_parquet(path: Path) -> bool:
    """Whether a file begins as Parquet does."""
    return _head(path).startswith(b"PAR1")


def refuse_other_encodings(path: Path, *, name: str, fix: str) -> None:
    """Read a text file once, and refuse it if it is not UTF-8.

    Raises:
        DataError: the message says at which byte, and gives the command that converts the file.
    """
    head = _head(path)
    if encoding := _UTF16.get(head[:2]) or _utf16_by_zeros(head):
        raise DataError(f"{name}: expected UTF-8; found {encoding}", f"{_iconv(encoding, name)}; {fix}")
    decoder = codecs.getincrementaldecoder("utf-8")()
    before, lines = 0, 1
    with open(path, "rb") as stream:
        while True:
            chunk = stream.read(_CHUNK)
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                at = before - pending + error.start
                line = lines + chunk.count(b"\n", 0, max(error.start - pending, 0))
                how = f"if it is Windows-1252: {_iconv('WINDOWS-1252', name)}; {fix}"
                raise DataError(f"{name}: not UTF-8 ({error.reason} at byte {at}, in line {line})", how) from None
            before += len(chunk)
            lines += chunk.count(b"\n")
            if not chunk:
                return


def _head(path: Path) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(512)


def _refuse_formats(path: Path, name: str, fix: str) -> None:
    head = _head(path)
    for beginning, what, how in _REFUSED:
        if head.startswith(beginning):
            raise DataError(f"{name}: expected JSON, JSON lines, CSV, TSV or Parquet; found {what}", f"{how}; {fix}")


def _utf16_by_zeros(head: bytes) -> str | None:
    """UTF-16 without a byte order mark: in ASCII text of it, every second byte is zero."""
    if len(head) < 4:
        return None
    pairs = len(head) // 2
    for start, encoding in ((1, "UTF-16LE"), (0, "UTF-16BE")):
        if head[start::2].count(0) >= pairs * 0.9 and head[1 - start :: 2].count(0) <= pairs * 0.1:
            return encoding
    return None


def _iconv(encoding: str, name: str) -> str:
    """The command that converts a file to UTF-8, into a new one beside it."""
    if "://" in name:
        return f"iconv -f {encoding} -t UTF-8 FILE > NEW"
    path = PurePosixPath(name)
    new = path.with_name(f"{path.stem}.utf-8{path.suffix}")
    return f"iconv -f {encoding} -t UTF-8 {shlex.quote(name)} > {shlex.quote(str(new))}"
