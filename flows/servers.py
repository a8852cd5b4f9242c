"""Show the pages of MLflow and Prefect on this machine, until Ctrl-C: `python -m flows.servers`.

They listen on the loopback interface only, and show the runs of earlier `make run` too. Where MLFLOW_TRACKING_URI names
an MLflow server, no other is started. What the servers write goes to a file each, in PREFECT_HOME.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from flows import folder, prefect_server, servers_file
from flows.tool_settings import search_path
from stages.common.errors import ServiceUnavailable
from stages.running import program
from stages.running.arguments import Parser, whole_number
from stages.running.tracking import links, mlflow_access

HOST = "127.0.0.1"
#: The deployment with the form.
EXPERIMENT = "instruct-pipeline/experiment"

_GUARD = Path(__file__).with_name("guard.py")
#: Seconds that a start may take. The first one creates the databases' tables, which is slow on a busy machine.
_START_SECONDS = 180.0
#: Seconds that a server may take to end.
_GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.3
#: Bytes from which on a server's log is emptied when the server starts.
_LOG_BYTES = 10_000_000


@dataclass(frozen=True)
class Server:
    """A server that was started.

    Args:
        name: its name.
        address: its address, without a path.
        health: path that answers with 200 when it is ready.
        log: file that gets what it writes.
        process: its process, under a guard.
    """

    name: str
    address: str
    health: str
    log: Path
    process: subprocess.Popen[bytes]

    def answers(self) -> bool:
        """Whether the health path answers with 200."""
        try:
            with urllib.request.urlopen(self.address + self.health, timeout=5) as answer:  # noqa: S310 - http
                return bool(answer.status == 200)
        except OSError:
            return False


def free_port(wanted: int) -> int:
    """The port ``wanted`` if nothing listens on it, else a free one.

    Raises:
        ServiceUnavailable: no port is free.
    """
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            # As the servers do: a port whose last connections are still closing counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise ServiceUnavailable(f"no free port on {HOST}", "end a program that listens")


def start_mlflow(port: int) -> Server:
    """Start MLflow's pages on the project's tracking database (MLFLOW_TRACKING_URI), and make that before if need be.

    Raises:
        ServiceUnavailable: the database cannot be used.
    """
    mlflow_access.prepare()
    # Its job runner starts ten more processes, 2 GB of memory, for features that nothing here uses. The address of the
    # database is passed in the environment: it may hold a password, and everybody on the machine sees command lines.
    variables = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_BACKEND_STORE_URI": mlflow_access.uri()}
    options = ["--host", HOST, "--port", str(port), "--workers", "1"]
    log = _log_of("MLflow")
    process = _start(log, "mlflow", "ui", *options, variables=variables)
    return Server("MLflow", f"http://{HOST}:{port}", "/health", log, process)


def start_prefect(port: int) -> Server:
    """Start Prefect's server and pages on the project's database."""
    address = f"http://{HOST}:{port}"
    # Its pages ask the server at this address, not at one that may be configured.
    variables = {"PREFECT_UI_API_URL": f"{address}/api", "PREFECT_API_URL": f"{address}/api"}
    log = _log_of("Prefect")
    process = _start(log, "prefect", "server", "start", "--host", HOST, "--port", str(port), variables=variables)
    return Server("Prefect", address, "/api/health", log, process)


@contextlib.contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Wait until the servers answer; after the block end them and everything that they have started.

    Raises:
        ServiceUnavailable: a server ended or did not answer in time.
    """
    try:
        deadline = time.monotonic() + _START_SECONDS
        for server in servers:
            while not server.answers():
                _check(*servers)
                if time.monotonic() > deadline:
                    what = f"{server.name} has not answered at {server.address} within {_START_SECONDS:.0f} s"
                    raise ServiceUnavailable(what, f"{server.log} has what it wrote")
                time.sleep(_POLL_SECONDS)
        _check(*servers)  # another program may have taken the port and answered
        yield
    finally:
        for server in servers:
            assert server.process.stdin
            server.process.stdin.close()
        for server in servers:
            server.process.wait()


def _check(*servers: Server) -> None:
    for server in servers:
        if (code := server.process.poll()) is not None:
            what = f"{server.name} has ended with exit code {code}: {_last_line(server.log)}"
            raise ServiceUnavailable(what, f"{server.log} has what it wrote")


def _last_line(log: Path) -> str:
    """The last line of a server's log: of a traceback, the line that says what was wrong."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "without a word")


def _log_of(server: str) -> Path:
    return Path(os.environ["PREFECT_HOME"], f"{server.lower()}.log")


def _start(log: Path, *command: str, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a server under a guard, which ends it and its children when this process is gone.

    Args:
        log: file that gets what it writes, for this user's eyes alone: an address may hold a password.
        command: the server and its arguments.
        variables: environment variables for it, besides this process's own.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    emptied = os.O_TRUNC if log.exists() and log.stat().st_size > _LOG_BYTES else 0
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | emptied, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", str(_GUARD), str(_GRACE_SECONDS), *command],
            env={**os.environ, "PATH": search_path(), **variables},
            stdin=subprocess.PIPE,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """Start the servers, print their addresses and wait for Ctrl-C, which is no failure at any time.

    Raises:
        InputOutputError: the folder cannot be written.
        ServiceUnavailable: a server ended or did not answer in time.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        _serve(_arguments())
    except KeyboardInterrupt:  # while they were starting, or once more while they were ending
        print("\nended")


def _arguments() -> argparse.Namespace:
    parser = Parser(prog="python -m flows.servers", description=__doc__)
    free = "a free one if it is taken, or with 0; default %(default)s"
    for name, port in (("MLflow", 5000), ("Prefect", 4200)):
        option, told = f"--{name.lower()}-port", f"port of {name}: {free}"
        parser.add_argument(option, type=whole_number(0, 65535), default=port, metavar="PORT", help=told)
    return parser.parse_args()


def _serve(wanted: argparse.Namespace) -> None:
    folder.check_writable(Path.cwd())
    # Runs that go to an MLflow server are on its own pages; a second server could not show them.
    remote = mlflow_access.uri().lower().startswith(("http://", "https://"))
    starts = {} if remote else {"MLflow": (start_mlflow, wanted.mlflow_port)}
    there = servers_file.prefect_address()
    if there is None:
        starts["Prefect"] = (start_prefect, wanted.prefect_port)
    ports = {}
    for name, (_, port) in starts.items():
        ports[name] = free_port(port)
        if port not in (0, ports[name]):
            print(f"port {port} is taken: {name} gets {ports[name]}", flush=True)
    print(f"starting {' and '.join(starts) or 'nothing'} (up to a minute) ...", flush=True)
    servers = {name: start(ports[name]) for name, (start, _) in starts.items()}
    mlflow = servers["MLflow"].address if "MLflow" in servers else None
    with running(*servers.values()), contextlib.ExitStack() as stack:
        if there is None:
            stack.enter_context(servers_file.kept(servers["Prefect"].address, mlflow))
        else:
            print(f"{'Prefect':8} {there}, which another make ui has started here", flush=True)
        if remote:
            where = mlflow_access.shown_uri()
            print(f"{'MLflow':8} {where}, which is not started here (MLFLOW_TRACKING_URI)", flush=True)
        for server in servers.values():
            print(f"{server.name:8} {server.address}   (log: {os.path.relpath(server.log)})", flush=True)
        for name, address in links.runs_pages(Path.cwd(), mlflow or ""):
            print(f"{'runs':8} {address}   ({name})", flush=True)
        api = f"{there or servers['Prefect'].address}/api"
        form = prefect_server.form_page(api, EXPERIMENT)
        print(f"{'the form':8} {form or 'not there yet: make deploy'}", flush=True)
        print(f"\nto use this Prefect server from another folder:  export PREFECT_API_URL={api}", flush=True)
        print("Ctrl-C ends what was started", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(_POLL_SECONDS)
                _check(*servers.values())
        print("\nending what was started ...", end=" ", flush=True)
    print("ended", flush=True)


if __name__ == "__main__":
    program.run("servers", main)
