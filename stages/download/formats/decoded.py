"""How large a Parquet file is once it is decoded: its encodings can hold gigabytes in a mebibyte."""

from __future__ import annotations

import io

#: Rows that are in memory while their bytes are counted.
_BATCH = 16


def is_within(contents: bytes, largest: int, most: int) -> bool:
    """Whether a Parquet file is within bounds; one that is damaged is, since the reader says what is wrong with it.

    Args:
        contents: the file.
        largest: bound of its bytes when decoded.
        most: bound of its rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table, seen = pq.ParquetFile(io.BytesIO(contents)), 0
        if table.metadata.num_rows > most:
            return False
        for batch in table.iter_batches(batch_size=_BATCH):
            seen += batch.nbytes
            if seen > largest:
                return False
    except (pa.ArrowException, OSError):
        return True
    return True
