"""Groups that are joined pair by pair."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stages.split.groups import Groups


def test_joined_groups_have_the_name_of_their_least_number() -> None:
    groups = Groups(5)
    for a, b in ((4, 3), (1, 2), (2, 4)):
        groups.join(a, b)
    assert [groups.of(number) for number in range(5)] == [0, 1, 1, 1, 1]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_the_order_of_the_pairs_does_not_matter(pairs: list[tuple[int, int]]) -> None:
    one, other = Groups(10), Groups(10)
    for a, b in pairs:
        one.join(a, b)
    for a, b in reversed(pairs):
        other.join(b, a)
    assert [one.of(number) for number in range(10)] == [other.of(number) for number in range(10)]
