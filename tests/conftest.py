"""What holds for every test: no network but loopback, nobody's home folder, no timed hypothesis."""

from __future__ import annotations

import atexit
import errno
import ipaddress
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests.root import ROOT

_HOME = tempfile.mkdtemp(prefix="home-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
# Programs that tests start would inherit that nohup ignores it, and go on when their terminal is closed.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Before any library reads them at import.
os.environ.update(
    DO_NOT_TRACK="true",
    DVC_NO_ANALYTICS="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HOME=_HOME,
    MLFLOW_DISABLE_TELEMETRY="true",
    MPLBACKEND="agg",
    # Its list of fonts, which takes seconds to make, outlives the home folder.
    MPLCONFIGDIR=str(ROOT / ".pytest_cache" / "matplotlib"),
    # The tests run in as many processes as there are cores.
    OMP_NUM_THREADS="1",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    TOKENIZERS_PARALLELISM="false",
)
# Unbuffered output would hide a line that was not flushed.
for _name in [name for name in os.environ if name.startswith("XDG_") or name == "PYTHONUNBUFFERED"]:
    del os.environ[_name]

# A loaded machine is slow, not wrong; and a failure shall be found again by whoever runs the tests next.
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")


def _is_loopback(host: Any) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


#: Hosts beyond this machine that this process has tried to reach.
_attempts: list[str] = []


def _check(host: Any, error: OSError) -> None:
    """Note the attempt and fail as a machine without a network does."""
    if not _is_loopback(host):
        _attempts.append(str(host))
        raise error


def _guarded(method: Any) -> Any:
    def connect(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _check(address[0], OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH)))
        return method(self, address)

    return connect


def _look_up(host: Any, *arguments: Any, **options: Any) -> Any:
    _check(host, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    return _getaddrinfo(host, *arguments, **options)


# For good and not by a fixture: fixtures of modules and sessions begin before those of a test.
_getaddrinfo = socket.getaddrinfo
socket.getaddrinfo = _look_up
socket.socket.connect = _guarded(socket.socket.connect)  # type: ignore[method-assign]
socket.socket.connect_ex = _guarded(socket.socket.connect_ex)  # type: ignore[method-assign]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """With -v, the table of the judge's faults: what the server did, and what became of the answer."""
    if terminalreporter.verbosity < 1:
        return
    reports = [dict(report.user_properties) for report in terminalreporter.stats.get("passed", [])]
    rows = sorted((found["fault"], found["outcome"]) for found in reports if "fault" in found)
    if rows:
        terminalreporter.section("faults of the judge's server")
    for fault, outcome in rows:
        terminalreporter.write_line(f"{fault:<32} {outcome}")


@pytest.fixture(autouse=True)
def network_attempts() -> Iterator[list[str]]:
    """Fail a test in whose time this process has tried to reach another machine, even if a library hid the error."""
    yield _attempts
    hosts = _attempts[:]
    _attempts.clear()
    assert hosts == [], "tried to reach another machine"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the person at this machine has set and a test would notice."""
    for name in list(os.environ):
        theirs = ("PIPELINE_", "OLLAMA_", "OPENAI_", "HF_ENDPOINT", "MLFLOW_RUN_ID", "MLFLOW_TRACKING", "CUDA_VISIBLE")
        if name.startswith(theirs):
            monkeypatch.delenv(name)
