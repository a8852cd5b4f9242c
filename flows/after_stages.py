"""What a run does after its last stage, made ready while that stage is at work, which leaves a processor idle."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.running import report


@dataclass(frozen=True)
class Ready:
    """What is made ready.

    Args:
        report: the program that makes the report, which waits to be told to go.
        _drawing: loads what draws pictures.
    """

    report: report.Making
    _drawing: threading.Thread

    def wait(self) -> None:
        """Wait until what draws pictures is loaded: two threads are not to import it at a time."""
        self._drawing.join()


@contextlib.contextmanager
def made_ready(tree: Path) -> Iterator[Ready]:
    """Begin to make ready what follows the stages; what is not used ends with the block.

    Args:
        tree: folder that the stages run in.
    """
    drawing = threading.Thread(target=_load_drawing, name="drawing", daemon=True)
    drawing.start()
    with report.begun(tree) as making:
        yield Ready(making, drawing)


def _load_drawing() -> None:
    """Load what draws pictures, its fonts too, which takes a second. What is wrong is told by whoever draws."""
    with contextlib.suppress(Exception):
        from matplotlib.figure import Figure

        drawn = Figure()
        drawn.subplots().set_title("a")
        drawn.savefig(io.BytesIO(), format="png")
