"""What stands in for a GPU's recordings (`stages.gpt2.graphs`): tapes that record and repeat on a CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from stages.gpt2.graphs import Work

aten = torch.ops.aten
#: What a GPU cannot record, since the host waits for numbers in it, or sends memory that may be gone when it is done.
WAITS = {
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.lift_fresh.default,
    aten.equal.default,
}


class Tape(TorchDispatchMode):
    """Keeps each operation with the tensors and numbers that it was given, as a CUDA graph keeps kernels.

    Done again each reads and writes the memory of then, whatever that holds by now; numbers are those of then.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in WAITS or isinstance(out, int | float):
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        self._kept.append((func, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        """Do it all again."""
        with torch.no_grad():
            for func, args, kwargs, then in self._kept:
                returns = [returned.alias_info for returned in func._schema.returns]
                if any(alias is not None and not alias.is_write for alias in returns):
                    continue  # a view: of the same memory as then
                now = func(*args, **kwargs)
                for old, new in zip(_tensors(then), _tensors(now), strict=True):
                    if old is not new:
                        old.detach().copy_(new)


def _tensors(result: Any) -> Sequence[Tensor]:
    return [result] if isinstance(result, Tensor) else result or []


class Tapes:
    """A `graphs.Recorder` of tapes.

    A GPU records without doing; a tape does, so that what is done to some tensors, and to torch's generator, is undone.

    Attributes:
        done: what was done, in order: "plainly", "recorded", "again".
        undone: gives the tensors.
    """

    def __init__(self, undone: Callable[[], list[Tensor]] = list) -> None:
        self.done: list[str] = []
        self.undone = undone

    def do(self, work: Work) -> None:
        """Do it now."""
        self.done.append("plainly")
        work()

    def record(self, work: Work) -> Work:
        """Record it; what is returned does it."""
        self.done.append("recorded")
        tape = Tape()
        with self._undone(), tape:
            work()

        def replay() -> None:
            self.done.append("again")
            tape.replay()

        return replay

    @contextlib.contextmanager
    def _undone(self) -> Iterator[None]:
        there = self.undone()
        before = [tensor.detach().clone() for tensor in there]
        with torch.random.fork_rng():
            try:
                yield
            finally:
                with torch.no_grad():
                    for tensor, was in zip(there, before, strict=True):
                        tensor.copy_(was)
