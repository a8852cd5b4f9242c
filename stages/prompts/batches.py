"""Rows encoded in batches, on every core of this process."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from stages.common import cores
from stages.common.results.split import Example
from stages.common.token_files import TokenBatch
from stages.prompts.encoding import BatchEncoder

#: Rows of a batch. A file of tokens has the same batches, so that another number would make other bytes.
ROWS = 1024


def encoded(rows: Iterable[Example], encode: BatchEncoder) -> Iterator[TokenBatch]:
    """Encode rows in batches of `ROWS`, as many at a time as this process has cores.

    Few batches are in memory, however many rows there are.
    """
    threads = cores.available()
    source = iter(rows)
    waiting: deque[Future[TokenBatch]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            while part := list(itertools.islice(source, ROWS)):
                waiting.append(pool.submit(encode, part))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()
