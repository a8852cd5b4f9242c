"""What is said where no terminal shows a progress bar."""

from __future__ import annotations

import pytest

from stages.running import console


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


def forecast(clock: list[float], at_a_time: int = 1) -> console.Forecast:
    bar = console.progress(total=0, unit="verdict", what="judging")
    return console.Forecast(bar, unit="verdicts", what="judging", at_a_time=at_a_time, now=lambda: clock[0])


def test_the_time_that_is_left_is_said_once_and_by_what_took_time(clock, capsys):
    told = forecast(clock)
    told.start(1200)
    told.known(100)
    for _ in range(4):
        clock[0] += 3.0
        told.made(1)
    assert capsys.readouterr().out == ""
    for _ in range(1000):
        clock[0] += 3.0
        told.made(1)
    assert capsys.readouterr().out == "judging: 105 of 1,200 verdicts; the rest will take about 54 min 45 s\n"


def test_several_at_a_time_are_waited_for_until_their_rate_is_known(clock, capsys):
    """Four of 3 seconds each come together: after the first of them the rate would be a quarter of what it is."""
    told = forecast(clock, at_a_time=4)
    told.start(40)
    for number in range(20):
        clock[0] += 3.0 * (number % 4 == 0)
        told.made(1)
        assert (capsys.readouterr().out == "") == (number < 19)


@pytest.mark.parametrize(("units", "seconds"), [(1000, 0.001), (console.UNITS_BEFORE, 60.0)])
def test_what_is_done_before_its_rate_is_known_is_told_nothing(clock, capsys, units, seconds):
    told = forecast(clock)
    told.start(units)
    for _ in range(units):
        clock[0] += seconds
        told.made(1)
    assert capsys.readouterr().out == ""


def test_work_that_begins_after_other_work_is_counted_anew(clock, capsys):
    told = forecast(clock)
    told.start(100)
    told.known(20)
    for _ in range(5):
        clock[0] += 3.0
        told.made(1)
    assert capsys.readouterr().out == "judging: 25 of 100 verdicts; the rest will take about 3 min 45 s\n"
    clock[0] += 1000.0
    told.start(10)
    for _ in range(5):
        clock[0] += 2.0
        told.made(1)
    assert capsys.readouterr().out == "judging: 5 of 10 verdicts; the rest will take about 10 s\n"


def test_a_bar_on_a_terminal_says_it_itself(clock, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    told = forecast(clock)
    told.start(1000)
    for _ in range(100):
        clock[0] += 3.0
        told.made(1)
    assert capsys.readouterr().out == ""
