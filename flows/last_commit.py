"""The run just made, compared with the last commit's, for the flow's artifact and the MLflow run."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stages.common.results.judge import VERDICTS
from stages.running import beside, git, temporary

#: The revision to compare with.
REVISION = "HEAD"
#: Seconds that the comparison may take at most; it reads two files of each run.
_SECONDS = 120.0


@dataclass(frozen=True)
class Compared:
    """The output of `python -m stages.judge.runs.compare`.

    Args:
        text: its table, or the reason why nothing was compared.
        files: the files that it wrote; none where nothing was compared.
        picture: its figure as Markdown.
    """

    text: str
    files: tuple[Path, ...] = ()
    picture: str = ""


@contextmanager
def with_last_commit(root: Path, tree: Path) -> Iterator[Compared]:
    """Compare the scores in ``tree`` with those of the last commit of ``root``. It never fails a run.

    Args:
        root: the user's repository.
        tree: folder that the stages ran in.

    Yields:
        The comparison, whose files are removed after the block.
    """
    if not (tree / VERDICTS).exists():
        yield Compared("There are no scores to compare.")
        return
    with temporary.folder() as folder:
        table, figure = folder / "comparison.json", folder / "comparison.png"
        command = [sys.executable, "-m", "stages.judge.runs.compare", REVISION, str(tree.resolve())]
        # The folder's path would mean nothing in files that outlive the folder.
        command += ["--as", "this run", "--json", str(table), "--figure", str(figure)]
        try:
            done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            yield Compared(f"Nothing compared: no result within {_SECONDS:g} s")
            return
        if done.returncode != 0:
            yield Compared(f"Nothing compared: {done.stderr.strip()}")
            return
        beside.keep(tree, table, REVISION, f"the last commit, {git.ask(root, 'rev-parse', 'HEAD')[:7]}")
        drawn = base64.b64encode(figure.read_bytes()).decode()
        yield Compared(done.stdout.strip(), (table, figure), f"\n![differences](data:image/png;base64,{drawn})\n")
