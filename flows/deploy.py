"""Register the flow with the Prefect server of PREFECT_API_URL, ready for a worker: `python -m flows.deploy`.

It creates the work pool, deploys prefect.yaml and prints the next commands. A second time changes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from flows import folder, prefect_server
from flows.tool_settings import search_path
from stages.common.errors import ConfigError, PipelineError, ServiceUnavailable
from stages.common.printable import printable
from stages.running import streams

_POOL = "local"
_DEPLOYMENT = "instruct-pipeline/nightly"


def main() -> None:
    """Create the work pool, deploy, and print the next commands.

    Raises:
        ConfigError: PREFECT_API_URL is not set.
        ServiceUnavailable: the server does not answer, or Prefect fails.
    """
    argparse.ArgumentParser(prog="python -m flows.deploy", description=__doc__).parse_args()
    folder.check(Path.cwd())
    if "PREFECT_API_URL" not in os.environ:
        raise ConfigError(
            "PREFECT_API_URL is not set: no server to deploy to",
            "make ui, then in another shell export PREFECT_API_URL as it says",
        )
    prefect_server.check()
    _prefect("work-pool", "create", _POOL, "--type", "process", "--overwrite")
    _prefect("--no-prompt", "deploy", "--all")
    schedule = json.loads(_prefect("deployment", "inspect", _DEPLOYMENT, "--output", "json"))["schedules"][0]["id"]
    run = f"{os.path.relpath(sys.executable)} -m flows prefect"
    print(f"""deployed {_DEPLOYMENT} to {os.environ["PREFECT_API_URL"]}

a worker, which runs it:    {run} worker start --pool {_POOL}
a run now:                  {run} deployment run {_DEPLOYMENT}
switch the schedule on:     {run} deployment schedule resume {_DEPLOYMENT} {schedule}
switch it off again:        {run} deployment schedule pause {_DEPLOYMENT} {schedule}""")


def _prefect(*arguments: str) -> str:
    """Run a command of Prefect and return its output."""
    done = subprocess.run(
        ["prefect", *arguments],
        env={**os.environ, "PATH": search_path()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServiceUnavailable(f"prefect {' '.join(arguments)}: {(done.stdout + done.stderr).strip()}")
    return done.stdout


def _end(error: PipelineError) -> NoReturn:
    print(printable(f"deploy: {error}"), file=sys.stderr)
    sys.exit(error.exit_code)


if __name__ == "__main__":
    streams.prepare()
    try:
        main()
    except PipelineError as error:
        _end(error)
