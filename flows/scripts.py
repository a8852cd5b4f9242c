"""The console scripts of the installed package: short names for ``python -m MODULE``, with the same arguments.

In a checkout of the repository the checkout's own modules run, as with ``python -m``; elsewhere those of the package.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def run() -> NoReturn:
    """``instruct-pipeline``: bring the pipeline up to date, in a checkout of the repository."""
    _become("flows.run")


def chat() -> NoReturn:
    """``instruct-pipeline-chat``: talk to a trained model."""
    _become("flows.chat")


def compare() -> NoReturn:
    """``instruct-pipeline-compare``: compare the scores of two or more runs."""
    _become("stages.judge.runs.compare")


def _become(module: str) -> NoReturn:
    """Put ``python -m MODULE`` in the place of this process, so that signals and the exit code are the module's."""
    os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])  # noqa: S606 - the user's own command line
