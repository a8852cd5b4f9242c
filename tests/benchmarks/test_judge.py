"""The benchmark of the judge's client counts what it says that it counts."""

import contextlib
import json
import queue
import sys
import urllib.request

import pytest

from benchmarks import judge as benchmark
from stages.common.errors import PipelineError


@pytest.mark.slow  # it starts three processes
def test_both_clients_are_measured_against_one_server(monkeypatch, capsys, tmp_path):
    """On a machine that does other work too: 80 % of the slots' time instead of 95, and all of the rest."""
    found = tmp_path / "found.json"
    arguments = ["judge", "--items", "200", "--slots", "2", "--service", "0.05", "--json", str(found)]
    monkeypatch.setattr(sys, "argv", arguments)
    with contextlib.suppress(PipelineError):
        benchmark.main()
    ours, book = json.loads(found.read_text())["results"]
    assert (ours["contender"], ours["scored"], book["contender"], book["scored"]) == ("ours", 200, "book", 200)
    assert 0 < book["slots_busy"] <= 0.5  # it asks for one at a time, and there are two
    assert benchmark.beyond(benchmark.Row(**ours), 0.05, least_busy=0.8) == []
    assert capsys.readouterr().out.startswith("| contender | items | scored | seconds | slots_busy |")


def test_figures_that_are_not_what_they_should_be_are_told():
    good = benchmark.Row("ours", 100, 100, 10.0, slots_busy=0.96, cpu_ms_per_verdict=2.0, memory_growth_mib=3.0)
    assert benchmark.beyond(good, 0.25) == []
    bad = benchmark.Row("ours", 100, 99, 10.0, slots_busy=0.7, cpu_ms_per_verdict=3.5, memory_growth_mib=70.0)
    assert benchmark.beyond(bad, 0.25) == [
        "99 of 100 scored",
        "slots busy 70.0%, not 95%",
        "3.5 ms of CPU time a verdict, not less than 3.0",
        "memory grew by 70.0 MiB, not at most 16.0",
    ]
    assert len(benchmark.beyond(bad, 0.0)) == 3  # verdicts that take no time keep no slot busy


class Process:
    exitcode = -9

    def __init__(self, alive):
        self.is_alive = lambda: alive


def test_a_server_that_dies_before_it_serves_ends_the_benchmark():
    with pytest.raises(PipelineError, match="the server ended with -9"):
        benchmark._port(Process(alive=False), queue.Queue())


def test_a_contender_that_dies_or_hangs_ends_the_benchmark():
    with pytest.raises(PipelineError, match="ended with -9 and no result"):
        benchmark.result(Process(alive=False), queue.Queue(), 60)
    with pytest.raises(PipelineError, match=r"not done in 0.1 s"):
        benchmark.result(Process(alive=True), queue.Queue(), 0.1)


def test_a_slot_is_taken_for_the_service_time_and_no_more_than_there_are_at_a_time():
    async def four_verdicts():
        slots = benchmark.Slots(0.02, benchmark.asyncio.Semaphore(2))
        await benchmark.asyncio.gather(*(slots.verdict() for _ in range(4)))
        return slots

    slots = benchmark.asyncio.run(four_verdicts())
    assert slots.served == 4
    assert slots.taken >= 4 * 0.02
    assert slots.last - slots.first >= 2 * 0.02


def test_the_server_ends_with_the_block():
    with benchmark.server(1, 0.0) as url, urllib.request.urlopen(f"{url}/api/version") as response:
        assert b"version" in response.read()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{url}/api/version")
