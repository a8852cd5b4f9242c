"""Paths in a copy of the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.common.paths import local_path


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("../x", "/repository/../x"),
        ("..", "/repository/.."),
        ("a/../../x", "/repository/a/../../x"),
        ("data/x", "data/x"),
        ("a/../x", "a/../x"),
        ("..x", "..x"),
        ("/x", "/x"),
    ],
)
def test_where_a_path_is_in_a_copy_of_the_repository(monkeypatch: pytest.MonkeyPatch, source: str, path: str) -> None:
    assert local_path(source) == Path(source)
    monkeypatch.setenv("PIPELINE_ROOT", "/repository")
    assert local_path(source) == Path(path)
