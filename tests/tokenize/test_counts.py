"""The token counts of a split, by hand."""

from stages.common.metrics.tokenize import TokenCounts
from stages.common.results.tokenize import Encoded
from stages.common.token_files import TokenBatch
from stages.tokenize.counts import Tally, describe


def row(id: str, length: int, prompt_length: int) -> Encoded:
    return Encoded(id=id, ids=list(range(length)), prompt_length=prompt_length)


WHOLE = [row("fits", 4, 2), row("is cut", 9, 3), row("is dropped", 7, 5)]


def counted(context_length: int) -> TokenCounts:
    tally = Tally(context_length)
    for rows in (WHOLE[:1], WHOLE[1:]):
        batch = TokenBatch.of(rows)
        tally.add(batch, batch.cut(context_length))
    return tally.counts()


def test_counts_by_hand():
    found = counted(context_length=5)

    assert found == TokenCounts(
        rows=2, tokens=9, prompt_tokens=5, longest=9, over_context=["is cut", "is dropped"], dropped=["is dropped"]
    )
    assert describe(found) == (
        "2 rows, 9 tokens, the longest 9; 2 longer than tokenize.context_length; 1 dropped, its prompt alone fills it"
    )


def test_rows_that_fit_are_only_counted():
    found = counted(context_length=9)

    assert (found.tokens, found.over_context, found.dropped) == (20, [], [])
    assert describe(found) == "3 rows, 20 tokens, the longest 9"
