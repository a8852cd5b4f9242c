"""The run just made, compared with the last commit's, for the flow's artifact and the MLflow run."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.common.errors import PipelineError
from stages.common.printable import printable
from stages.common.results.judge import VERDICTS
from stages.common.secrecy import hidden
from stages.judge.runs import compare
from stages.running import beside, git, temporary
from stages.running.tracking import mlflow_access

#: The revision to compare with.
REVISION = "HEAD"
#: Seconds that the comparison may take at most; it looks for other trainings of the recipe in MLflow.
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


@contextlib.contextmanager
def with_last_commit(root: Path, tree: Path) -> Iterator[Compared]:
    """Compare the scores in ``tree`` with those of the last commit of ``root``. It never fails a run.

    It works in this process, which has imported MLflow already: a new one takes three seconds longer.

    Args:
        root: the user's repository, which is the working directory.
        tree: folder that the stages ran in.

    Yields:
        The comparison, whose files are removed after the block.
    """
    if not (tree / VERDICTS).exists():
        yield Compared("There are no scores to compare.")
        return
    with temporary.folder() as folder:
        table, figure = folder / "comparison.json", folder / "comparison.png"
        # The folder's path would mean nothing in files that outlive the folder.
        asked = [REVISION, str(tree.resolve()), "--as", "this run", "--json", str(table), "--figure", str(figure)]
        try:
            text = mlflow_access.bounded(lambda: compare.told(asked), _SECONDS)
        except PipelineError as error:
            yield Compared(f"Nothing compared: {printable(hidden(str(error)))}")
            return
        except Exception as error:  # the run has succeeded by now, whatever is wrong here
            yield Compared(f"Nothing compared: {type(error).__name__}: {printable(hidden(str(error)))}")
            return
        beside.keep(tree, table, REVISION, f"the last commit, {git.ask(root, 'rev-parse', 'HEAD')[:7]}")
        drawn = base64.b64encode(figure.read_bytes()).decode()
        yield Compared(printable(text).strip(), (table, figure), f"\n![differences](data:image/png;base64,{drawn})\n")
