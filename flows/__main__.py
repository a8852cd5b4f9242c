"""`python -m flows COMMAND ...` runs a command in the project's environment: `prefect worker start --pool local`."""

from __future__ import annotations

import os
import sys

from flows.tool_settings import search_path

if len(sys.argv) < 2:
    sys.exit("usage: python -m flows COMMAND [ARGUMENT ...]")
os.environ["PATH"] = search_path()
try:
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the user's own command line
except FileNotFoundError:
    sys.exit(f"{sys.argv[1]}: no such command")
