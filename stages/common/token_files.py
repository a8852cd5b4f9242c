"""Files of token rows: Arrow IPC files that are mapped into memory, so that a row is read when it is needed.

A file has three columns: ``id`` (text), ``ids`` (a list of uint16, which GPT-2's 50,257 tokens fit) and
``prompt_length`` (int32). Equal rows in equal batches make equal bytes: the format holds no version, clock or name
(https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format).

    pyarrow.ipc.open_file("artifacts/tokenize/train.arrow").read_pandas()

reads one elsewhere.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.common.errors import DataError
from stages.common.files import atomic_file
from stages.common.results.tokenize import Encoded

N = TypeVar("N", bound=np.generic)

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("ids", pa.large_list(pa.field("item", pa.uint16(), nullable=False)), nullable=False),
        pa.field("prompt_length", pa.int32(), nullable=False),
    ]
)


@dataclass(frozen=True)
class TokenBatch:
    """Token rows one behind another.

    Args:
        names: the id of each row.
        tokens: [sum of lengths] uint16, all their token ids.
        lengths: [rows] int64, the number of token ids of each.
        prompt_lengths: [rows] int32, how many of these are the prompt's.
    """

    names: list[str]
    tokens: npt.NDArray[np.uint16]
    lengths: npt.NDArray[np.int64]
    prompt_lengths: npt.NDArray[np.int32]

    @classmethod
    def of(cls, rows: Sequence[Encoded]) -> TokenBatch:
        """The same rows as a batch."""
        return cls(
            [row.id for row in rows],
            np.array([one for row in rows for one in row.ids], dtype=np.uint16),
            np.array([len(row.ids) for row in rows], dtype=np.int64),
            np.array([row.prompt_length for row in rows], dtype=np.int32),
        )

    def over(self, context_length: int) -> npt.NDArray[np.bool_]:
        """Which rows are longer than the context."""
        longer: npt.NDArray[np.bool_] = self.lengths > context_length
        return longer

    def answered(self, context_length: int) -> npt.NDArray[np.bool_]:
        """Of which rows a response token fits the context, so that the label mask leaves something to train on."""
        fits: npt.NDArray[np.bool_] = self.prompt_lengths < context_length
        return fits

    def cut(self, context_length: int) -> TokenBatch:
        """The rows of which a response token fits the context, each cut to it.

        A row that is cut loses its end-of-text, because its answer does not end there.
        """
        fits = self.answered(context_length)
        if fits.all() and not self.over(context_length).any():
            return self
        starts = np.cumsum(self.lengths) - self.lengths
        place = np.arange(len(self.tokens)) - np.repeat(starts, self.lengths)
        kept = (place < context_length) & np.repeat(fits, self.lengths)
        return TokenBatch(
            [name for name, fit in zip(self.names, fits, strict=True) if fit],
            self.tokens[kept],
            np.minimum(self.lengths, context_length)[fits],
            self.prompt_lengths[fits],
        )


def write(path: Path, batches: Iterable[TokenBatch]) -> int:
    """Write a file of token rows, completely or not at all, and return their number."""
    count = 0
    with atomic_file(path, "wb") as stream, pa.ipc.new_file(stream, SCHEMA) as writer:
        for batch in batches:
            offsets = np.concatenate([[0], np.cumsum(batch.lengths)])
            ids = pa.LargeListArray.from_arrays(_numbers(offsets), _numbers(batch.tokens), SCHEMA[1].type)
            columns = [_texts(batch.names), ids, _numbers(batch.prompt_lengths)]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
            count += len(batch.names)
    return count


# `pyarrow.array` and `Array.to_numpy` load pandas, which takes a quarter of a second. Buffers and DLPack do not.


def _array(column: pa.Array, kind: type[N]) -> npt.NDArray[N]:
    """A column of numbers of a dtype, without nulls, as an array [rows] that reads the same memory."""
    values = np.from_dlpack(column)
    assert values.dtype == kind
    return np.asarray(values, dtype=kind)


def _numbers(values: npt.NDArray[Any]) -> pa.Array:
    """A column of the numbers of an array [rows], of its dtype."""
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _texts(values: Sequence[str]) -> pa.Array:
    """A column of texts, of 2 GiB together at most."""
    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    assert ends[-1] < 1 << 31
    return pa.StringArray.from_buffers(
        len(values), pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(b"".join(encoded))
    )


class TokenRows(Sequence[Encoded]):
    """The rows of a file, which stay on disk: of each, main memory has 8 bytes, and a row is made when it is asked for.

    Args:
        path: the file.
        made_by: command that makes the file, for the message when it is missing or broken.

    Raises:
        DataError: the file is missing, is no Arrow file, is damaged, or has other columns.
    """

    def __init__(self, path: Path, *, made_by: str) -> None:
        self._batches = list(_batches(path, made_by))
        self._ends = np.cumsum([len(batch.names) for batch in self._batches], dtype=np.int64).tolist()
        #: [rows] int32, the number of token ids of each row.
        self.lengths: npt.NDArray[np.int32] = np.concatenate(
            [np.zeros(0, np.int32), *(np.diff(batch.offsets) for batch in self._batches)], dtype=np.int32
        )
        #: [rows] int32, the number of token ids of each prompt.
        self.prompt_lengths: npt.NDArray[np.int32] = np.concatenate(
            [np.zeros(0, np.int32), *(batch.prompt_lengths for batch in self._batches)]
        )

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Encoded: ...
    @overload
    def __getitem__(self, index: slice) -> list[Encoded]: ...
    def __getitem__(self, index: int | slice) -> Encoded | list[Encoded]:
        """A row by its number from 0, or some rows."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(index)
        which = bisect.bisect_right(self._ends, number)
        batch = self._batches[which]
        at = number - self._ends[which] + len(batch.names)
        return Encoded.model_construct(
            id=batch.names[at].as_py(),
            ids=batch.tokens[batch.offsets[at] : batch.offsets[at + 1]].tolist(),
            prompt_length=int(batch.prompt_lengths[at]),
        )

    def __iter__(self) -> Iterator[Encoded]:
        """All rows in the order of the file."""
        return map(self.__getitem__, range(len(self)))


@dataclass(frozen=True)
class _Mapped:
    """The columns of one batch of a file, as the memory map has them."""

    names: Any
    tokens: npt.NDArray[np.uint16]
    offsets: npt.NDArray[np.int64]
    prompt_lengths: npt.NDArray[np.int32]


def _batches(path: Path, made_by: str) -> Iterator[_Mapped]:
    if not path.is_file():
        raise DataError(f"{path}: no such file", made_by)
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        if not reader.schema.equals(SCHEMA):
            found = ", ".join(f"{field.name}: {field.type}" for field in reader.schema)
            wanted = ", ".join(f"{field.name}: {field.type}" for field in SCHEMA)
            raise DataError(f"{path}: expected the columns {wanted}; found {found}", made_by)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            batch.validate(full=True)
            ids = batch.column("ids")
            for name, column in (*zip(batch.schema.names, batch.columns, strict=True), ("ids", ids.values)):
                if column.null_count:
                    raise DataError(f"{path}: column {name}: expected no nulls, found {column.null_count}", made_by)
            yield _Mapped(
                batch.column("id"),
                _array(ids.values, np.uint16),
                _array(ids.offsets, np.int64),
                _array(batch.column("prompt_length"), np.int32),
            )
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not an Arrow file that can be read: {str(error).splitlines()[0]}", made_by) from None


def lengths_of(rows: Sequence[Encoded]) -> npt.NDArray[np.int32]:
    """[rows] int32, the number of token ids of each row; those of a file are known without reading its rows."""
    if isinstance(rows, TokenRows):
        return rows.lengths
    return np.array([len(row.ids) for row in rows], dtype=np.int32)
