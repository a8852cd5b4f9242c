"""Work that a GPU records once and then does in one call (CUDA graphs).

A pass of a small model is hundreds or thousands of kernels, each shorter than it takes to ask for it. A GPU can record
them with the memory that they read and write, and do all of them again when asked (Gray 2019, "Getting Started with
CUDA Graphs"). Whatever is another each time must therefore lie in tensors that stay where they are, and nothing in the
work may wait for a number.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Hashable
from typing import Protocol

import torch

from stages.common.errors import ConfigError

#: Set to 0, a GPU is asked for every kernel by itself.
VARIABLE = "PIPELINE_CUDA_GRAPHS"
#: How many kinds of work are recorded; each takes some megabytes of the GPU besides memory that all share.
MOST = 64

Work = Callable[[], object]


class Recorder(Protocol):
    """What does work on a device, and can record it to do it again."""

    def do(self, work: Work) -> None:
        """Do it now, as far apart from other work as what is recorded."""
        ...

    def record(self, work: Work) -> Work:
        """Record it without doing it; what is returned does it.

        Raises:
            RuntimeError: there is something in it that cannot be recorded.
        """
        ...


class CudaGraphs:
    """The `Recorder` of a GPU. What is recorded shares its memory, since one thing is done at a time."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        # Recording wants a stream of its own. Gradients are added up on the stream on which they were first, so that a
        # step before the recording is done there too.
        self._stream = torch.cuda.Stream()

    def do(self, work: Work) -> None:
        """Do it on the stream of the recordings, after what the GPU has been asked for and before what it will be."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            work()
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, work: Work) -> Work:
        """Record it without doing it; what is returned does it."""
        graph = torch.cuda.CUDAGraph()
        before = torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                work()
        except RuntimeError as error:
            # The recording's own end fails too then, hides what was wrong, and leaves its stream the current one.
            torch.cuda.set_stream(before)
            cause: BaseException = error
            while cause.__context__ is not None:
                cause = cause.__context__
            raise RuntimeError(str(cause)) from error
        return graph.replay


def recorder(device: torch.device) -> Recorder | None:
    """What records on a device; None where nothing is recorded.

    Raises:
        ConfigError: PIPELINE_CUDA_GRAPHS is neither 0 nor 1.
    """
    return CudaGraphs() if recorded(device) else None


def recorded(device: torch.device) -> bool:
    """Whether work on a device is recorded.

    Raises:
        ConfigError: PIPELINE_CUDA_GRAPHS is neither 0 nor 1.
    """
    wanted = os.environ.get(VARIABLE) or "1"
    if wanted not in ("0", "1"):
        raise ConfigError(f"{VARIABLE}: expected 0 or 1, found {wanted!r}", f"export {VARIABLE}=0, or unset it")
    return device.type == "cuda" and wanted == "1"


class Repeater:
    """Does work of several kinds again and again: each kind's first time plainly, and from then on from a recording.

    Args:
        recorder: of the device.
        what: is repeated, in the plural; for the warning if there are no recordings, which says why.
        tidy: is called after a recording that has failed, which leaves what was broken off.
    """

    def __init__(self, recorder: Recorder, what: str, tidy: Callable[[], None] = lambda: None) -> None:
        self._recorder = recorder
        self._what = what
        self._tidy = tidy
        self._replays: dict[Hashable, Work | None] = {}
        #: How many more kinds may be recorded.
        self._left = MOST

    def records_next(self, kind: Hashable) -> bool:
        """Whether work of a kind would be recorded if it were done now."""
        return self._left > 0 and kind in self._replays and self._replays[kind] is None

    def plainly(self, work: Work) -> None:
        """Do work that is none of the kinds."""
        self._recorder.do(work)

    def do(self, kind: Hashable, work: Work) -> None:
        """Do work; of one kind it is the same on the same tensors every time."""
        replay = self._recorded(work) if self.records_next(kind) else self._replays.get(kind)
        self._replays[kind] = replay
        if replay is None:
            self._recorder.do(work)
        else:
            replay()

    def _recorded(self, work: Work) -> Work | None:
        """A recording; None if it fails, as then all others would, of which is warned once."""
        try:
            replay = self._recorder.record(work)
        except RuntimeError as error:
            self._left = 0
            self._tidy()
            reason = " ".join(str(error).split())[:200]
            warnings.warn(f"{self._what} are not recorded as CUDA graphs, and take longer: {reason}", stacklevel=2)
            return None
        self._left -= 1
        return replay
