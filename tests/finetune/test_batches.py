"""Batches: padding and targets come from lengths, never from ids."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.common.results.tokenize import Encoded
from stages.finetune import layout
from stages.finetune.batches import batches_of, collate, epoch_order
from stages.finetune.layout import Layout, bucket
from stages.gpt2.packed import PaddedRows
from stages.gpt2.runtime import Compute

END = 50256


def row(ids: list[int], prompt_length: int = 1, id: str = "x") -> Encoded:
    return Encoded(id=id, ids=ids, prompt_length=prompt_length)


def counted(batch) -> dict[tuple[int, int], float]:
    """How often each (index, target) counts."""
    return dict(
        zip(zip(batch.where.tolist(), batch.targets.tolist(), strict=True), batch.weights.tolist(), strict=True)
    )


def test_collate_rows_that_begin_differently():
    batch = collate([row([1, 2, 3]), row([4, 5])], "all")

    assert batch.ids.tolist() == [1, 2, 4]
    assert batch.positions.tolist() == [0, 1, 0]
    assert counted(batch) == {(0, 2): 1, (1, 3): 1, (2, 5): 1}
    assert batch.count == 3
    assert (batch.attend.prefix, batch.attend.rows, batch.attend.width) == (0, 2, 2)
    assert batch.attend.grid.tolist() == [0, 1, 2]


def test_collate_computes_the_shared_prefix_once_and_counts_its_targets_for_every_row():
    batch = collate([row([7, 1, 2, 3, 4]), row([7, 1, 2, 5]), row([7, 1, 2, 6, 8])], "all")

    assert batch.ids.tolist() == [7, 1, 2, 3, 2, 2, 6]
    assert batch.positions.tolist() == [0, 1, 2, 3, 2, 2, 3]
    assert counted(batch) == {(0, 1): 3, (1, 2): 3, (2, 3): 1, (3, 4): 1, (4, 5): 1, (5, 6): 1, (6, 8): 1}
    assert batch.count == 11
    assert (batch.attend.prefix, batch.attend.width) == (2, 2)
    assert batch.attend.grid.tolist() == [0, 1, 2, 4, 5]


def test_collate_on_the_response_alone():
    batch = collate([row([9, 2, 3, END], prompt_length=2), row([9, 5, 6, 7, END], prompt_length=3)], "response")

    assert batch.ids.tolist() == [9, 2, 3, 5, 6, 7]
    assert counted(batch) == {(1, 3): 1, (2, END): 1, (4, 7): 1, (5, END): 1}


def test_the_end_of_text_is_a_target_and_so_is_one_inside_a_row():
    batch = collate([row([END, 5, END, END], prompt_length=2)], "response")

    assert batch.targets.tolist() == [END, END]


@st.composite
def rows_of_ids(draw):
    ids = draw(st.lists(st.integers(0, 2) | st.just(END), min_size=2, max_size=9))
    return row(ids, draw(st.integers(0, len(ids) - 1)))


@given(st.lists(rows_of_ids(), min_size=1, max_size=6), st.sampled_from(["all", "response"]), st.booleans())
def test_a_batch_holds_every_input_and_target_of_its_rows(rows, loss_on, share_prefix):
    batch = collate(rows, loss_on, share_prefix=share_prefix)

    attend, ids, positions = batch.attend, batch.ids.tolist(), batch.positions.tolist()
    own_indices = {slot: number + attend.prefix for number, slot in enumerate(attend.grid.tolist())}
    expected: dict[tuple[int, int], float] = {}
    for number, one in enumerate(rows):
        indices = list(range(attend.prefix))
        indices += [own_indices[number * attend.width + offset] for offset in range(len(one.ids) - 1 - attend.prefix)]
        assert [ids[index] for index in indices] == one.ids[:-1]
        assert [positions[index] for index in indices] == list(range(len(one.ids) - 1))
        for position in range(1 if loss_on == "all" else max(one.prompt_length, 1), len(one.ids)):
            key = (indices[position - 1], one.ids[position])
            expected[key] = expected.get(key, 0) + 1
    assert counted(batch) == expected
    assert batch.count == sum(expected.values())


def test_padding_belongs_to_no_row_and_padded_targets_count_nothing():
    # [1, 2] and [1, 3]: the packed [1, 2, 3] predicts 2, 3, 4 and 4.
    batch = collate([row([1, 2, 4]), row([1, 3, 4])], "all")
    padded = collate([row([1, 2, 4]), row([1, 3, 4])], "all", Layout(multiple=4))

    assert (batch.ids.tolist(), len(batch.targets)) == ([1, 2, 3], 4)
    assert (padded.ids.tolist(), padded.positions.tolist()) == ([1, 2, 3, 0], [0, 1, 1, 0])
    assert padded.targets.tolist() == batch.targets.tolist()
    assert collate([row([1, 2, 4])], "all", Layout(multiple=4)).weights.tolist() == [1, 1, 0, 0]
    assert padded.attend.grid.tolist() == batch.attend.grid.tolist() == [0, 1]
    assert padded.count == 4


def test_rows_are_padded_to_one_bucket_each_behind_what_they_share():
    begin = list(range(11, 20))
    batch = collate([row([*begin, 1, 2]), row([*begin, 3, 4, 5])], "all", Layout(padded=True))

    # Of the nine common ids eight are there once, and each row has 16 indices of its own.
    assert batch.attend == PaddedRows(prefix=8, rows=2, width=16)
    assert batch.ids.tolist() == [*begin[:8], 19, 1, *[0] * 14, 19, 3, 4, *[0] * 13]
    assert batch.positions.tolist() == [*range(8), 8, 9, *[0] * 14, 8, 9, 10, *[0] * 13]
    assert counted(batch) == {
        **{(index, index + 12): 2 for index in range(7)},
        (7, 19): 2,
        (8, 1): 1,
        (9, 2): 1,
        (24, 3): 1,
        (25, 4): 1,
        (26, 5): 1,
    } | {(0, 0): 0}
    assert (len(batch.targets), batch.count) == (128, 21)


def test_the_buckets_are_few():
    assert [bucket(length, 16) for length in (0, 1, 16, 17, 256, 257, 289, 513)] == [0, 16, 16, 32, 256, 288, 320, 576]
    assert len({bucket(length, 16) for length in range(1, 1025)}) == 32


@given(st.integers(1, 100_000), st.sampled_from([16, 64]))
def test_little_is_padding(length, least):
    assert length <= bucket(length, least) < max(length + least, length * 9 / 8 + 1)


@pytest.mark.parametrize(
    ("device", "dtype", "expected"),
    [
        ("cpu", torch.float32, (Layout(), Layout())),
        ("cpu", torch.bfloat16, (Layout(multiple=32), Layout())),
        ("cuda", torch.bfloat16, (Layout(padded=True), Layout(padded=True))),
    ],
)
def test_the_layout_is_that_of_the_device(device, dtype, expected):
    compute = Compute(torch.device(device), dtype)
    assert (layout.training(compute), layout.evaluation(compute.device)) == expected


def test_a_batch_without_targets_is_one():
    batch = collate([row([1, 2], prompt_length=2), row([3, 4, 5], prompt_length=3)], "response", Layout(multiple=4))

    assert batch.ids.tolist() == [1, 3, 4, 0]
    assert (batch.where.tolist(), batch.targets.tolist(), batch.weights.tolist(), batch.count) == ([], [], [], 0)


@given(st.integers(1, 200), st.integers(0, 2**63 - 1), st.integers(1, 5))
def test_an_epoch_sees_every_row_once(rows, seed, epoch):
    assert sorted(epoch_order(rows, seed, epoch)) == list(range(rows))


def test_the_order_differs_by_epoch_and_seed_and_is_repeatable():
    orders = {(seed, epoch): tuple(epoch_order(50, seed, epoch)) for seed in (1, 2) for epoch in (1, 2)}

    assert len(set(orders.values())) == 4
    assert tuple(epoch_order(50, 2, 1)) == orders[2, 1]


@pytest.mark.parametrize(("drop_last", "expected"), [(True, [[4, 3], [2, 1]]), (False, [[4, 3], [2, 1], [0]])])
def test_batches_of(drop_last, expected):
    assert batches_of([4, 3, 2, 1, 0], 2, drop_last=drop_last) == expected


def test_a_last_batch_that_is_full_is_kept():
    assert batches_of([1, 2, 3, 4], 2, drop_last=True) == [[1, 2], [3, 4]]
