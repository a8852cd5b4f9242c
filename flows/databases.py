"""Make the databases of Prefect and MLflow: `python -m flows.databases`, the last step of `make setup`.

The first run would make them, which takes 7 s of its time. It still does where they cannot be made here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from flows import prefect_server
from stages.common.printable import printable
from stages.common.secrecy import hidden
from stages.running import program
from stages.running.arguments import Parser
from stages.running.tracking import mlflow_access

_PREFECT = (sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y")


def main() -> None:
    """Make both, side by side, where none other is configured; what fails is told, and fails nothing."""
    Parser(prog="python -m flows.databases", description=__doc__).parse_args()
    print("making the databases of Prefect and MLflow (once) ...", flush=True)
    prefect = None
    if not prefect_server.configured():
        prefect = subprocess.Popen(_PREFECT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        try:
            mlflow_access.load()
            mlflow_access.client(Path.cwd())
        except Exception as error:
            _tell("MLflow", mlflow_access.why(error))
    if prefect is not None:
        _, said = prefect.communicate()
        if prefect.returncode != 0:
            _tell("Prefect", (said.strip().splitlines() or ["no reason was given"])[-1])


def _tell(name: str, reason: str) -> None:
    print(printable(hidden(f"  {name}'s was not made, and the first run tries again: {reason}")), flush=True)


if __name__ == "__main__":
    program.run("databases", main)
