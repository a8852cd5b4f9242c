"""Run a command with the project's settings of Prefect, DVC and MLflow: `python -m flows prefect worker start ...`.

Where `make ui` runs in this folder, its Prefect server is among them.
"""

from __future__ import annotations

import os
import sys

from flows import servers_file
from flows.tool_settings import search_path

if len(sys.argv) < 2:
    sys.exit("usage: python -m flows COMMAND [ARGUMENT ...], such as python -m flows prefect config view")
os.environ["PATH"] = search_path()
os.environ.update(servers_file.environment())
try:
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the user's own command line
except FileNotFoundError:
    sys.exit(f"{sys.argv[1]}: no such command")
