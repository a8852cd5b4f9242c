"""What a run does after its last stage, made ready while an early one is at work, which leaves a processor idle."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.common import paths
from stages.params import whole
from stages.running import made_on, report


@dataclass(frozen=True)
class Ready:
    """What is made ready.

    Args:
        report: the program that makes the report, which waits to be told to go.
        _loading: loads what is needed here.
    """

    report: report.Making
    _loading: threading.Thread

    def wait(self, seconds: float) -> None:
        """Wait until all is loaded: of imports in two threads, one can find a module that the other has half loaded.

        Where matplotlib finds its fonts for the first time, it takes many seconds.

        Args:
            seconds: the most to wait.
        """
        self._loading.join(seconds)


def needs_no_model(tree: Path) -> bool:
    """Whether the judge is the built-in one. What waits takes 100 MB of memory, which a language model may need.

    Args:
        tree: folder with params.yaml.
    """
    return whole.load(tree / paths.PARAMS).judge.backend == "reference"


@contextlib.contextmanager
def made_ready(tree: Path) -> Iterator[Ready]:
    """Begin to make ready what follows the stages; what is not used ends with the block.

    Args:
        tree: folder that the stages run in.
    """
    loading = threading.Thread(target=_load, name="loading", daemon=True)
    loading.start()
    with report.begun(tree) as making:
        yield Ready(making, loading)


def _load() -> None:
    """Load what draws pictures, its fonts too, and the packages' versions. What is wrong is told by whoever uses it."""
    with contextlib.suppress(Exception):
        made_on.packages()
        from matplotlib.figure import Figure

        drawn = Figure()
        drawn.subplots().set_title("a")
        drawn.savefig(io.BytesIO(), format="png")
