"""CUDA graphs: work that a GPU captures once and then replays in one call.

A pass of a small model is hundreds or thousands of kernels, each of which runs for less time than its launch takes. A
GPU can capture them with the memory that they read and write, and replay them all (Gray 2019, "Getting Started with
CUDA Graphs"). So whatever differs between replays must be in tensors that keep their memory, and nothing in the work
may wait for a number.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Hashable
from typing import Protocol

import torch

from stages.common.errors import ConfigError

#: Set to 0, every kernel is launched by itself.
VARIABLE = "PIPELINE_CUDA_GRAPHS"
#: How many kinds of work are captured; each takes some megabytes of the GPU besides the memory that all share.
MOST = 64

Work = Callable[[], object]


class GraphRunner(Protocol):
    """What runs work on a device, and can capture it to replay it."""

    def run(self, work: Work) -> None:
        """Run it, as much apart from other work as what is captured."""
        ...

    def capture(self, work: Work) -> Work:
        """Capture it without running it.

        Returns:
            What replays it.

        Raises:
            RuntimeError: something in it cannot be captured.
        """
        ...


class CudaGraphRunner:
    """The `GraphRunner` of a GPU. Its graphs share memory, as only one is replayed at a time."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        # Capture needs a stream of its own. Gradients accumulate on the stream that they were first computed on, so
        # that a step before the capture runs there too.
        self._stream = torch.cuda.Stream()

    def run(self, work: Work) -> None:
        """Run it on the stream of the captures, between what was enqueued before it and what comes after it."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            work()
        torch.cuda.current_stream().wait_stream(self._stream)

    def capture(self, work: Work) -> Work:
        """Capture it without running it; what is returned replays it."""
        graph = torch.cuda.CUDAGraph()
        before = torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                work()
        except RuntimeError as error:
            # Then the end of the capture fails too, which hides the cause and leaves its stream the current one.
            torch.cuda.set_stream(before)
            cause: BaseException = error
            while cause.__context__ is not None:
                cause = cause.__context__
            raise RuntimeError(str(cause)) from error
        return graph.replay


def runner(device: torch.device) -> GraphRunner | None:
    """What captures work on a device; None where nothing is captured.

    Raises:
        ConfigError: PIPELINE_CUDA_GRAPHS is neither 0 nor 1.
    """
    return CudaGraphRunner() if enabled(device) else None


def enabled(device: torch.device) -> bool:
    """Whether work on a device is captured.

    Raises:
        ConfigError: PIPELINE_CUDA_GRAPHS is neither 0 nor 1.
    """
    wanted = os.environ.get(VARIABLE) or "1"
    if wanted not in ("0", "1"):
        raise ConfigError(f"{VARIABLE}: expected 0 or 1, found {wanted!r}", f"export {VARIABLE}=0, or unset it")
    return device.type == "cuda" and wanted == "1"


class Replayer:
    """Runs work of several kinds many times: the first kind eagerly once, then each captured and replayed.

    The eager run is for what PyTorch and CUDA's libraries make when they are first used, such as workspaces, which
    cannot be captured.

    Args:
        runner: runner of the device.
        what: name of the work, in the plural, for the warning where it cannot be captured.
        tidy: function that discards what a failed capture left unfinished.
    """

    def __init__(self, runner: GraphRunner, what: str, tidy: Callable[[], None] = lambda: None) -> None:
        self._runner = runner
        self._what = what
        self._tidy = tidy
        self._replays: dict[Hashable, Work] = {}
        self._begun = False
        #: How many more kinds may be captured.
        self._left = MOST

    def captures_next(self, kind: Hashable) -> bool:
        """Whether work of a kind would be captured if it ran now."""
        return self._begun and self._left > 0 and kind not in self._replays

    def keeps(self, kind: Hashable) -> bool:
        """Whether work of a kind is captured, or would be now: what it reads must keep its memory then."""
        return kind in self._replays or self.captures_next(kind)

    def run_eagerly(self, work: Work) -> None:
        """Run work that is none of the kinds."""
        self._runner.run(work)

    def run(self, kind: Hashable, work: Work) -> None:
        """Run work. Work of one kind must do the same on the same tensors every time."""
        if self.captures_next(kind):
            self._capture(kind, work)
        self._begun = True
        self._replays.get(kind, lambda: self._runner.run(work))()

    def _capture(self, kind: Hashable, work: Work) -> None:
        """Capture work for its replay. If that fails, all others would fail too, so one warning is enough."""
        try:
            self._replays[kind] = self._runner.capture(work)
            self._left -= 1
        except RuntimeError as error:
            self._left = 0
            self._tidy()
            reason = " ".join(str(error).split())[:200]
            warnings.warn(f"{self._what} are not captured as CUDA graphs, and take longer: {reason}", stacklevel=2)
