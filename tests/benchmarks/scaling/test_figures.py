"""The arithmetic of growth."""

from __future__ import annotations

import pytest

from benchmarks.scaling import figures
from benchmarks.scaling.figures import Part, Point


@pytest.mark.parametrize(
    ("before", "after", "ratio", "power"),
    [
        (2.0, 20.0, 10.0, 1.0),  # linear
        (3.0, 3.0, 10.0, 0.0),  # flat
        (1.0, 4.0, 2.0, 2.0),  # quadratic
        (8.0, 2.0, 4.0, -1.0),  # half as much at twice the size
        (1.0, 10.0, 100.0, 0.5),
    ],
)
def test_the_power_of_growth_worked_by_hand(before: float, after: float, ratio: float, power: float) -> None:
    assert figures.exponent(before, after, ratio) == pytest.approx(power)


def test_there_is_no_power_where_the_size_stays_or_a_figure_is_0() -> None:
    assert figures.exponent(1.0, 2.0, 1.0) is None
    assert figures.exponent(0.0, 2.0, 10.0) is None
    assert figures.exponent(1.0, 0.0, 10.0) is None


def test_a_series_grows_from_its_own_points_alone() -> None:
    points = [
        Point("split", 10, 1.0, 100),
        Point("split", 100, 10.0, 100),
        Point("tokenize", 10, 5.0, 7),
    ]
    part = Part("rows", points, 1.0, 0.0, [])

    assert {name: len(found) for name, found in part.series().items()} == {"split": 2, "tokenize": 1}
    assert list(figures.grown(part.series()["split"])) == [(points[0], None, None), (points[1], 1.0, 0.0)]
    assert list(figures.grown(part.series()["tokenize"])) == [(points[2], None, None)]
