"""What stands in for CUDA graphs (`stages.gpt2.graphs`): tapes that capture and replay on a CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from stages.gpt2.graphs import Work

aten = torch.ops.aten
#: What a GPU cannot capture: the host waits for numbers in it, or sends memory that may be freed before it is done.
WAITS = {
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.lift_fresh.default,
    aten.equal.default,
}


class Tape(TorchDispatchMode):
    """Keeps each operation with the tensors and numbers that it was given, as a CUDA graph keeps kernels.

    When replayed each reads and writes the same memory, whatever that holds by then; numbers are those of the capture.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.promote_types.default:
            return out  # of dtypes, which no device is asked for
        if func in WAITS or isinstance(out, int | float):
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        self._kept.append((func, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        """Run all operations again."""
        with torch.no_grad():
            for func, args, kwargs, then in self._kept:
                returns = [returned.alias_info for returned in func._schema.returns]
                if any(alias is not None and not alias.is_write for alias in returns):
                    continue  # a view of the same memory
                now = func(*args, **kwargs)
                for old, new in zip(_tensors(then), _tensors(now), strict=True):
                    if old is not new:
                        old.detach().copy_(new)


def _tensors(result: Any) -> Sequence[Tensor]:
    return [result] if isinstance(result, Tensor) else result or []


class Tapes:
    """A `graphs.GraphRunner` of tapes.

    A GPU captures work without running it. A tape runs it, so that its effects on some tensors and on torch's generator
    are undone afterwards.

    Attributes:
        done: what was done, in order: "eager", "captured", "replayed".
        undone: gives the tensors.
    """

    def __init__(self, undone: Callable[[], list[Tensor]] = list) -> None:
        self.done: list[str] = []
        self.undone = undone

    def run(self, work: Work) -> None:
        """Run it eagerly."""
        self.done.append("eager")
        work()

    def capture(self, work: Work) -> Work:
        """Capture it; what is returned replays it."""
        self.done.append("captured")
        tape = Tape()
        with self._undone(), tape:
            work()

        def replay() -> None:
            self.done.append("replayed")
            tape.replay()

        return replay

    @contextlib.contextmanager
    def _undone(self) -> Iterator[None]:
        tensors = self.undone()
        before = [tensor.detach().clone() for tensor in tensors]
        with torch.random.fork_rng():
            try:
                yield
            finally:
                with torch.no_grad():
                    for tensor, was in zip(tensors, before, strict=True):
                        tensor.copy_(was)
