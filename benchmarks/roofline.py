"""The floor of a training step on a machine: its matrix products, each as fast as it goes here alone, and the bytes
that an optimiser cannot do without, at the speed of the memory (Williams, Waterman and Patterson 2009, the roofline).

What is counted is the least that the task needs: tokens that the rows of a batch share are computed once, logits are
made of targets alone. The products of attention are left out, 1 % of the operations at 120 tokens and 7 % at 1,000, and
norms, activations, softmax and loss, which a kernel could do while the numbers are in the cache. So no program reaches
the floor, and one that computes more than it needs is further off.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks import child, task
from benchmarks.results import Floor
from stages.common.records import write_metrics
from stages.finetune.costs.shape import Shape
from stages.gpt2 import runtime
from stages.gpt2.model import GPT2Config

#: Times that each product is timed, after one that chooses a kernel; the fastest counts.
TIMES = 3
#: Floats of each of the three arrays of STREAM's triad (McCalpin 1995), 256 MB, which fit into no cache.
FLOATS = 1 << 26
#: Bytes that AdamW moves for a weight: it reads the weight and its two moments, in fp32, and writes them, and it reads
#: the gradient. In bf16 the gradient has 2 bytes less, and the weight that computes is written too: as many.
BYTES_A_WEIGHT = 28

#: The shape of a product [m, k] x [k, n].
Product = tuple[int, int, int]


def floor_of(given: task.Task, device: torch.device) -> Floor:
    """The floor of the task's measured steps.

    Args:
        given: the task.
        device: device that is measured.
    """
    layers, heads, width = task.SIZES[given.model]
    sizes = GPT2Config(layers, heads, width, task.POSITIONS)
    dtype = torch.bfloat16 if given.precision == "bf16" else torch.float32
    seconds = functools.cache(lambda product: _fastest(product, dtype, device))
    steps: list[float] = []
    flop = 0.0
    for rows in given.batches()[given.warmup :]:
        shape = Shape.of(rows, "all")
        needed = list(products(shape, sizes))
        flop += sum(2.0 * m * k * n * times for (m, k, n), times in needed)
        steps.append(sum(seconds(product) * times for product, times in needed))
    bandwidth = bytes_a_second(device)
    moved = BYTES_A_WEIGHT * sizes.parameters
    return Floor(
        products_s=sum(steps) / len(steps),
        bytes_s=moved / bandwidth,
        products_tflops_per_s=flop / sum(steps) / 1e12,
        bandwidth_gb_per_s=bandwidth / 1e9,
    )


def products(shape: Shape, sizes: GPT2Config) -> Iterator[tuple[Product, int]]:
    """The products [m, k] x [k, n] of a step, forward and backward, and how often each is made.

    Args:
        shape: the step's batch.
        sizes: sizes of the model.
    """
    width, layers = sizes.n_embd, sizes.n_layer
    tokens, logits = shape.tokens, shape.targets
    for inputs, outputs in ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)):
        yield from _forward_and_backward(tokens, inputs, outputs, layers)
    yield from _forward_and_backward(logits, width, sizes.vocab_size, 1)


def _forward_and_backward(tokens: int, inputs: int, outputs: int, times: int) -> Iterator[tuple[Product, int]]:
    """The product of an affine map, and those for the gradients of its input and of its weight."""
    yield (tokens, inputs, outputs), times
    yield (tokens, outputs, inputs), times
    yield (inputs, tokens, outputs), times


@torch.no_grad()
def _fastest(product: Product, dtype: torch.dtype, device: torch.device) -> float:
    """Seconds of a product, in the faster one of its two orders: transposed, it is another one to the library."""
    m, k, n = product
    a, b = torch.randn(m, k, device=device).to(dtype), torch.randn(k, n, device=device).to(dtype)
    orders: tuple[Callable[[], object], ...] = (lambda: torch.mm(a, b), lambda: torch.mm(b.t(), a.t()))
    return min(_seconds(once, device) for once in orders)


@torch.no_grad()
def bytes_a_second(device: torch.device, floats: int = FLOATS) -> float:
    """Bytes a second of the memory, by STREAM's triad, which reads two arrays and writes a third one."""
    a, b, c = (torch.ones(floats, device=device) for _ in range(3))
    return 3 * 4 * floats / _seconds(lambda: torch.add(a, b, alpha=3.0, out=c), device)


def _seconds(once: Callable[[], object], device: torch.device) -> float:
    taken = []
    for _ in range(TIMES + 1):
        started = time.perf_counter()
        once()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return min(taken[1:])


def main() -> None:
    """Write the floor of a task; `benchmarks.finetune` starts this."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    write_metrics(arguments.out, floor_of(task.read(arguments.folder), runtime.prepare()))


if __name__ == "__main__":
    child.run(main)
