"""Files of earlier runs, where a run works in a copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.running.checks import users_folder


def test_a_run_in_a_copy_looks_for_earlier_results_in_the_user_s_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("artifacts/split/metrics.json")
    monkeypatch.delenv("PIPELINE_ROOT", raising=False)
    assert users_folder.there(path) == path
    monkeypatch.setenv("PIPELINE_ROOT", "/repository")
    assert users_folder.there(path) == Path("/repository/artifacts/split/metrics.json")
