"""The plot is drawn whatever was measured, and its background is white in any theme."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy

from benchmarks.scaling import picture
from benchmarks.scaling.figures import Part, Point

PARTS = [
    Part("processes", [Point("a thread each", n, 1.0 / n, n << 30, 900.0 * n) for n in (1, 2)], 1.0, 0.0, []),
    Part("model", [Point("a step", n, n / 1e6, n << 6, 10.0, n << 7) for n in (10**6, 10**7)], 1.0, 0.0, []),
    Part("judging", [], 1.0, 0.0, ["all of it"]),
]


def test_parts_with_many_points_and_with_none_are_drawn(tmp_path: Path) -> None:
    picture.draw(tmp_path / "plot.png", PARTS)

    pixels = matplotlib.image.imread(tmp_path / "plot.png")
    assert numpy.all(pixels[0, 0] == 1.0), "opaque white"
    assert len(numpy.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20, "there are lines on it"


def test_the_same_figures_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture.draw(tmp_path / name, PARTS[:1])

    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
