"""The benchmark of the judge's client counts what it says that it counts."""

import sys
import urllib.request

import pytest

from benchmarks import judge as benchmark


@pytest.mark.slow  # it starts three processes
def test_both_clients_are_measured_against_one_server(monkeypatch, capsys, tmp_path):
    found = tmp_path / "found.json"
    arguments = ["judge", "--items", "12", "--slots", "2", "--service", "0.01", "--json", str(found)]
    monkeypatch.setattr(sys, "argv", arguments)
    benchmark.main()
    ours, book = benchmark.json.loads(found.read_text())["results"]
    assert (ours["contender"], ours["scored"], book["contender"], book["scored"]) == ("ours", 12, "book", 12)
    assert 0 < book["slots_busy"] <= 0.5  # it asks for one at a time, and there are two
    assert 0 < ours["slots_busy"] <= 1
    assert capsys.readouterr().out.startswith("| contender | items | scored | seconds | slots_busy |")


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
