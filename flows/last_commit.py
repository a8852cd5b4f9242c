"""The run just made beside the last commit's, for the flow's artifact and the MLflow run."""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stages.common.results.judge import VERDICTS

#: What the results are compared with.
REVISION = "HEAD"
#: The longest time for it, in seconds: it reads two files a run.
_SECONDS = 120.0


@dataclass(frozen=True)
class Compared:
    """What `python -m stages.judge.runs.compare` said, the files that it wrote, and its figure as Markdown.

    Where it could not compare, the text says why, and there is no more.
    """

    text: str
    files: tuple[Path, ...] = ()
    picture: str = ""


@contextmanager
def with_last_commit(root: Path, tree: Path) -> Iterator[Compared]:
    """Compare the scores in ``tree`` with those of the last commit of ``root``; the files last as long as the block.

    It never fails a run: where there is nothing to compare, the text says why.
    """
    if not (tree / VERDICTS).exists():
        yield Compared("There are no scores to compare.")
        return
    with tempfile.TemporaryDirectory(prefix="comparison-") as folder:
        table, figure = Path(folder, "comparison.json"), Path(folder, "comparison.png")
        command = [sys.executable, "-m", "stages.judge.runs.compare", REVISION, str(tree.resolve())]
        # A folder's path says nothing in files that outlive it.
        command += ["--as", "this run", "--json", str(table), "--figure", str(figure)]
        try:
            done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            yield Compared(f"Nothing compared: no result within {_SECONDS:g} s")
            return
        if done.returncode != 0:
            yield Compared(f"Nothing compared: {done.stderr.strip()}")
            return
        drawn = base64.b64encode(figure.read_bytes()).decode()
        yield Compared(done.stdout.strip(), (table, figure), f"\n![differences](data:image/png;base64,{drawn})\n")
