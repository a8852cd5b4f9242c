"""How fast a download goes, with a clock of the test's."""

from __future__ import annotations

import signal
import threading

import pytest

from stages.common.errors import ConfigError
from stages.download import pace
from stages.download.pace import Pace, TooSlow, measured


def test_progress_is_told_ever_more_rarely(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = [100.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: clock[0])
    counted = Pace("weights", 0.0)
    counted.asked()
    counted.answered(100_000_000)
    for _ in range(80):
        clock[0] += 1
        counted.received(1_000_000)
    assert capsys.readouterr().out.splitlines() == [
        "weights: 10.0 of 100.0 MB; the rest will take about 1 min 30 s",
        "weights: 30.0 of 100.0 MB; the rest will take about 1 min 10 s",
        "weights: 70.0 of 100.0 MB; the rest will take about 30 s",
    ]
    counted.answered(None)
    clock[0] += 80
    counted.received(1)
    assert capsys.readouterr().out == "weights: 80.0 MB so far\n"


def test_the_rate_is_that_of_the_last_time_not_of_all() -> None:
    counted = Pace("weights", 2.0)
    counted.received(5_000_000)
    counted.check(signal.SIGALRM, None)
    counted.received(2_000)
    counted.check(signal.SIGALRM, None)
    counted.received(1_999)
    with pytest.raises(TooSlow, match=r"^sent 1,999 bytes in 2 s; expected at least 1,000 a second$"):
        counted.check(signal.SIGALRM, None)


def test_nothing_is_left_of_the_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGALRM)
    with measured("weights") as counted:
        counted.asked()
        assert signal.getitimer(signal.ITIMER_REAL)[1] == 60.0
    counted.asked()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == before

    monkeypatch.setenv("PIPELINE_STALL_SECONDS", "0")
    with measured("weights") as counted:
        counted.asked()
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)

    monkeypatch.setenv("PIPELINE_STALL_SECONDS", "soon")
    with pytest.raises(ConfigError, match="PIPELINE_STALL_SECONDS: expected a number of seconds"), measured("weights"):
        pass


def test_in_another_thread_nothing_is_measured() -> None:
    failed: list[BaseException] = []

    def download() -> None:
        try:
            with measured("weights") as counted:
                counted.asked()
                counted.received(1)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=download)
    thread.start()
    thread.join()
    assert failed == []
