"""Equal texts are found by numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.split.digests import digest, equal, equal_in_order, first_of


def test_texts_in_other_parts_have_other_numbers() -> None:
    found = {digest(*parts) for parts in (("ab",), ("a", "b"), ("", "ab"), ("ab", ""), (), ("",), ("1 a",), ("1", "a"))}
    assert len(found) == 8
    assert all(0 < one < 2**64 for one in found)
    # printf '1 a' | b2sum -l 64: e357ae2bc133f242; the first byte is the least
    assert digest("a") == 0x42F233C12BAE57E3


@given(st.lists(st.integers(0, 9), max_size=30))
def test_the_places_of_equal_numbers(numbers: list[int]) -> None:
    expected = {one: [at for at, other in enumerate(numbers) if other == one] for one in set(numbers) - {0}}
    groups = [places for places in expected.values() if len(places) > 1]
    array = np.array(numbers, dtype=np.uint64)

    assert sorted(equal(array)) == sorted(groups) == equal_in_order(numbers)
    assert first_of(array).tolist() == [numbers.index(one) for one in numbers]
