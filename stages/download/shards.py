"""Weights in one safetensors file, or in several (shards) with an index: their SHA-256, and the one file made of them.

An index names the shard of each tensor (https://huggingface.co/docs/safetensors, model.safetensors.index.json). A
safetensors file is 8 bytes with the header's length, the header as JSON, and the tensors' bytes one after the other.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from stages.common.errors import DataError
from stages.common.files import atomic_file, sha256

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

#: No folder: an index names no file but those beside it.
_SHARD = re.compile(r"[A-Za-z0-9][\w.-]*\.safetensors")
_COPIED = 1 << 22


def digest(paths: Sequence[Path]) -> str:
    """The SHA-256 that stands for a file, or for shards.

    Of shards it is the SHA-256 of what ``sha256sum`` prints for them, in the order of their names. In the shards'
    folder ``sha256sum model-*-of-*.safetensors | sha256sum`` prints it.
    """
    if len(paths) == 1:
        return sha256(paths[0])
    lines = sorted((path.name, sha256(path)) for path in paths)
    return hashlib.sha256("".join(f"{found}  {name}\n" for name, found in lines).encode()).hexdigest()


def names_of(index: Any, *, name: str, fix: str) -> list[str]:
    """The names of the shards that an index lists, in order.

    Args:
        index: the index, as read from JSON.
        name: the user's name for it.
        fix: what the user can do about it.

    Raises:
        DataError: it lists no shards, or names that are no plain file names.
    """
    listed = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(listed, dict) or not listed:
        raise DataError(f"{name}: weight_map: expected the file of each tensor, found none", fix)
    for tensor, file in listed.items():
        if not isinstance(file, str) or not _SHARD.fullmatch(file):
            what = f"{name}: weight_map: {tensor!r}: expected the name of a .safetensors file beside it, found {file!r}"
            raise DataError(what, fix)
    return sorted(set(listed.values()))


def join(paths: Sequence[Path], target: Path, *, name: str, fix: str) -> None:
    """Write the tensors of several shards into one safetensors file. It is a function of the shards' bytes alone.

    No tensor is loaded: the bytes are copied, 4 MiB at a time.

    Args:
        paths: paths of the shards.
        target: path of the file.
        name: the user's name for the model.
        fix: what the user can do about wrong shards.

    Raises:
        DataError: a shard is damaged, or two hold the same tensor.
    """
    found: dict[str, _Stored] = {}
    for path in sorted(paths, key=lambda path: path.name):
        for tensor, stored in _tensors(path, name, fix).items():
            if tensor in found:
                other = found[tensor].path.name
                raise DataError(f"{name}: {tensor} is in two shards, {other} and {path.name}", fix)
            found[tensor] = stored
    # The largest elements first, so that each tensor begins at a multiple of its element's size.
    order = sorted(found, key=lambda tensor: (-found[tensor].element, tensor))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in order:
        stored = found[tensor]
        header[tensor] = stored.header | {"data_offsets": [offset, offset + stored.size]}
        offset += stored.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_file(target, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for tensor in order:
            found[tensor].copy(out)


class _Stored:
    """A tensor's bytes in a shard.

    Args:
        path: path of the shard.
        entry: the tensor's entry in the shard's header.
        data: offset at which the shard's tensors begin.
    """

    def __init__(self, path: Path, entry: Mapping[str, Any], data: int) -> None:
        begin, end = entry["data_offsets"]
        self.path, self.size, self._begin = path, end - begin, data + begin
        self.header = {"dtype": entry["dtype"], "shape": entry["shape"]}
        count = 1
        for length in entry["shape"]:
            count *= length
        self.element = self.size // count if count else 1

    def copy(self, out: IO[bytes]) -> None:
        with open(self.path, "rb") as stream:
            stream.seek(self._begin)
            left = self.size
            while left:
                chunk = stream.read(min(_COPIED, left))
                if not chunk:
                    raise OSError(f"{self.path} became shorter while it was read")
                out.write(chunk)
                left -= len(chunk)


def _tensors(path: Path, name: str, fix: str) -> dict[str, _Stored]:
    """The tensors of a shard, by name. What they hold is checked when the joined file is read."""
    size = path.stat().st_size
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if length <= size else b""
    try:
        entries = json.loads(header)
        found = {
            tensor: _Stored(path, entry, 8 + length) for tensor, entry in entries.items() if tensor != "__metadata__"
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):  # no safetensors file at all
        found = {}
    whole = 8 + length + sum(stored.size for stored in found.values())
    if not found or whole != size or any(stored.size < 0 for stored in found.values()):
        raise DataError(f"{name}: {path.name}: not a whole safetensors file", fix)
    return found
