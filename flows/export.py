"""Take a run's model away, as a program: `python -m flows.export RUN FOLDER [--to hf,gguf,ollama]`.

It replaces this process by `stages.judge.export`: flows imports no stage and no torch.
"""

from __future__ import annotations

import os
import sys

from flows.tool_settings import set_defaults
from stages.running import program


def main() -> None:
    """Become the export."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "stages.judge.export", *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    set_defaults()
    program.run("export", main)
