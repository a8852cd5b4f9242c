"""Values of environment variables: durations, and the rank in a process group."""

from __future__ import annotations

import pytest

from stages.common.errors import ConfigError
from stages.running import environment


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("0.1", 0.1), (" 90 ", 90.0), ("1e2", 100.0), ("", 15.0)])
def test_a_number_of_seconds(monkeypatch: pytest.MonkeyPatch, text: str, value: float) -> None:
    monkeypatch.setenv("PIPELINE_TEST_SECONDS", text)
    assert environment.seconds("PIPELINE_TEST_SECONDS", 15.0) == value


def test_the_default_where_nothing_is_set() -> None:
    assert environment.seconds("PIPELINE_TEST_SECONDS", 15.0) == 15.0


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", "1e10", "1,5", "10s"])
def test_anything_else_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PIPELINE_TEST_SECONDS", text)
    with pytest.raises(ConfigError) as caught:
        environment.seconds("PIPELINE_TEST_SECONDS", 15.0)
    assert caught.value.what == f"PIPELINE_TEST_SECONDS: expected a number of seconds from 0, found {text!r}"
    assert caught.value.fix == "export PIPELINE_TEST_SECONDS=15, or unset it"


def test_a_process_that_torchrun_has_started_knows_its_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert environment.worker() is None
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert environment.worker() == environment.Worker(rank=1, world_size=4)
