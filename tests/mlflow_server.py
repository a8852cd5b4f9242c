"""A real MLflow server for tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

SECONDS = 120.0


@contextlib.contextmanager
def running(folder: Path, database: Path) -> Iterator[str]:
    """Start a server on a free port of loopback, wait until it answers, and kill it after the block.

    Args:
        folder: folder for its database and artifacts.
        database: MLflow database that it starts with a copy of.

    Yields:
        Its address.
    """
    shutil.copy(database, folder / "server.db")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "s")]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + SECONDS
        while process.poll() is None and not _answers_at(port):
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.05)
        assert process.poll() is None
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers_at(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
