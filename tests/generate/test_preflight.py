"""The memory that generation takes at most, from sizes alone."""

from __future__ import annotations

from stages.generate import preflight
from stages.params import whole
from stages.running import machine
from tests.root import ROOT


def test_the_memory_of_the_quick_profile(monkeypatch):
    params = whole.load(ROOT / "params.yaml")

    (row,) = preflight.rows(params)
    monkeypatch.setattr(machine, "free_memory", lambda: 50 << 20)
    (short,) = preflight.rows(params)

    # Weights: 6,862,464, and 50,257 * 128 of the head once more, 4 bytes each.
    # Keys and values: 2 layers, 2 * 64 rows of 256 tokens, width 128, 4 bytes.
    assert row.found.startswith("the model takes up to 51 MiB, and keys and values of 64 rows at a time up to 32 MiB")
    assert (row.state, short.state) == ("ok", "warning")
