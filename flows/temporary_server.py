"""Prefect's temporary server: that of one run, where no other is configured and `make ui` does not run here.

Prefect would start it itself, but only when the flow begins: after all imports, among them those of the server. Here
it starts in a process beside the flow's own imports, and the flow takes it for a configured one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

#: The variable with the address of the API of a run's temporary server.
VARIABLE = "PIPELINE_PREFECT_TEMPORARY"
_GUARD = Path(__file__).with_name("guard.py")
#: Seconds that the server may take to write down what it has been told, once the run has ended.
_END_SECONDS = "5"
#: What `python -m uvicorn` does, without the teardown of the interpreter. The garbage collector is off while it loads,
#: as in `stages.running.loading`.
_UVICORN = """
import atexit, gc, os
codes = []
atexit.register(lambda: os._exit(codes[0]) if codes else None)
gc.disable()
import uvicorn
import prefect.server.api.server
gc.freeze()
gc.enable()
try:
    uvicorn.main(prog_name="uvicorn")
except SystemExit as end:
    codes.append(end.code or 0)
    raise
"""
#: What Prefect itself gives a temporary server: no pages, and settings that nothing is to change.
_SETTINGS = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


@dataclass(frozen=True)
class Server:
    """A Prefect server for a flow: one that starts or runs.

    Args:
        variables: the environment variables by which Prefect uses it.
        lifelines: file descriptors; a temporary server ends when all processes that have them are gone.
    """

    variables: dict[str, str]
    lifelines: Sequence[int] = ()


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """Start a server on a free port of loopback, without waiting for it, and end it after the block.

    The socket is there before the server is: who asks it is answered once it has started, or refused if it has ended.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Its connections have it too. Without, each answer may wait 40 ms for an acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        guard = subprocess.Popen(
            [sys.executable, "-P", str(_GUARD), _END_SECONDS, *_command(listener.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            start_new_session=True,
            # It would print its own tracebacks among the lines of the run; the flow says what concerns it.
            env={"PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL", **os.environ, **_SETTINGS},
        )
    assert guard.stdin
    try:
        yield Server({"PREFECT_API_URL": address, VARIABLE: address}, [guard.stdin.fileno()])
    finally:
        guard.stdin.close()
        if guard.wait() < 0:  # it was killed, and has not ended the server
            with contextlib.suppress(ProcessLookupError):
                os.killpg(guard.pid, signal.SIGKILL)


def has_pages(address: str | None) -> bool:
    """Whether the Prefect server with this address of its API is there after the run, with its pages."""
    return bool(address) and address != os.environ.get(VARIABLE)


def _command(descriptor: int) -> list[str]:
    """Uvicorn with Prefect's server on a socket, as `prefect.server.api.server.SubprocessASGIServer` starts it.

    It ends without the teardown of its interpreter, which takes more than a second.
    """
    found = importlib.util.find_spec("prefect")
    assert found is not None
    assert found.origin
    folder = str(Path(found.origin).parent.parent)
    server = ["--factory", "prefect.server.api.server:create_app", "--fd", str(descriptor)]
    return [sys.executable, "-c", _UVICORN, "--app-dir", folder, *server, "--log-level", "error", "--lifespan", "on"]
