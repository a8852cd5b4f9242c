"""Prefect's temporary server, as real processes: it is there for the length of a run, and of no other process."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows import prefect_server, temporary_server
from tests.flow_project import gone, wait_until
from tests.root import ROOT

_OWNER = """
import sys
from flows import temporary_server
with temporary_server.running() as server:
    print(server.variables["PREFECT_API_URL"], flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))


def uvicorn(owner: psutil.Process) -> psutil.Process:
    def found() -> list[psutil.Process]:
        return [one for one in owner.children(recursive=True) if one.cmdline()[1:2] == ["-c"]]

    wait_until(lambda: bool(found()))
    (server,) = found()
    return server


@pytest.mark.thorough
def test_a_server_answers_within_its_block_and_is_gone_after_it(tmp_path: Path) -> None:
    with temporary_server.running() as server:
        address = server.variables["PREFECT_API_URL"]
        prefect_server.wait(address, 120)
        assert prefect_server.answers(address)
        process = uvicorn(psutil.Process())
    assert gone(process)
    assert not prefect_server.answers(address)
    assert tmp_path.joinpath("prefect.db").exists()


@pytest.mark.thorough
@pytest.mark.parametrize("killed", ["the server", "its guard", "its owner"])
def test_a_server_ends_with_whatever_is_killed(killed: str) -> None:
    command = [sys.executable, "-c", _OWNER]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdin
        assert owner.stdout
        address = owner.stdout.readline().strip()
        server = uvicorn(psutil.Process(owner.pid))
        guard = server.parent()
        assert guard is not None
        {"the server": server, "its guard": guard, "its owner": psutil.Process(owner.pid)}[killed].send_signal(
            signal.SIGKILL
        )
        owner.stdin.close()
        owner.wait(60)
        wait_until(lambda: gone(server) and gone(guard))
        assert not prefect_server.answers(address)


@pytest.mark.thorough
def test_a_server_that_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    tmp_path.joinpath("prefect.db").mkdir()  # no database
    with temporary_server.running() as server, pytest.raises(OSError, match=r"refused|reset|Remote end closed"):
        prefect_server.wait(server.variables["PREFECT_API_URL"], 120)


def test_the_pages_of_a_temporary_server_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(temporary_server.VARIABLE, "http://127.0.0.1:1/api")
    assert not temporary_server.has_pages("http://127.0.0.1:1/api")
    assert temporary_server.has_pages("http://127.0.0.1:2/api")
    assert not temporary_server.has_pages(None)


def test_a_profile_of_prefect_names_the_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    assert prefect_server.configured() is None
    (tmp_path / "profiles.toml").write_text(
        'active = "team"\n[profiles.team]\nPREFECT_API_URL = "http://a/api"\n[profiles.own]\n', encoding="utf-8"
    )
    assert prefect_server.configured() == "http://a/api"
    monkeypatch.setenv("PREFECT_PROFILE", "own")
    assert prefect_server.configured() is None
    monkeypatch.setenv("PREFECT_API_URL", "http://b/api")
    assert prefect_server.configured() == "http://b/api"
