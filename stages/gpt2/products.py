"""How fast this processor multiplies matrices in fp32 and in bf16.

Its name and its units do not tell: of two processors with units for bf16, one takes half the time that it takes in
fp32, or with AMX a sixth, and another one twice that time (docs/decisions.md).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from stages.common.records import Precision
from stages.gpt2 import runtime

#: Rows of the product that is timed, and operations that are timed at least.
_ROWS, _OPERATIONS = 256, 400_000_000
#: Times that each is timed, in turn: the fastest counts.
_TIMES = 6
#: How many times as fast fp32 must be. All that is no matrix product moves half the bytes in bf16, which is faster.
MARGIN = 1.25


#: Gives a choice that was measured before, by its name, or else measures.
Once = Callable[[str, Callable[[], str]], str]


def chosen(precision: Precision, device: torch.device, width: int, once: Once) -> Precision:
    """The precision that "auto" is: "bf16" or "fp32", whichever is faster. Another one is itself.

    Args:
        precision: the value in params.yaml.
        device: device of the products. A GPU with units for bf16 is always faster with them.
        width: width of the model's embeddings.
        once: keeps what is measured, so that it stays the same.
    """
    if precision != "auto" or device.type == "cuda" or not runtime.has_bf16(device):
        return runtime.name_of(runtime.dtype_for(precision, device))
    found = once(f"precision, width {width}", lambda: "bf16" if bf16_is_faster(width) else "fp32")
    return "bf16" if found == "bf16" else "fp32"


def bf16_is_faster(width: int) -> bool:
    """Whether a model computes faster in bf16 than in fp32 on this processor, which has units for bf16.

    Args:
        width: width of the model's embeddings. The product timed is the largest of its layers.
    """
    return faster(*product_seconds(width))


def faster(fp32: float, bf16: float) -> bool:
    """Whether bf16 is faster, by the seconds of one product in each.

    >>> faster(1.0, 1.2), faster(1.0, 1.3)
    (True, False)
    """
    return bf16 < MARGIN * fp32


@torch.no_grad()
def product_seconds(width: int) -> tuple[float, float]:
    """Seconds of processor time of the product [256, width] x [width, 4 * width] in fp32 and in bf16, by one thread.

    It draws from a generator of its own, so that no other random number changes.
    """
    generator = torch.Generator().manual_seed(0)
    wide = [torch.randn(shape, generator=generator) for shape in ((_ROWS, width), (width, 4 * width))]
    a, b = (factor.to(torch.bfloat16) for factor in wide)
    fp32, bf16 = least_seconds(
        [lambda: torch.mm(*wide), lambda: torch.mm(a, b)], max(1, _OPERATIONS // (8 * _ROWS * width**2))
    )
    return fp32, bf16


def least_seconds(ways: Sequence[Callable[[], Tensor]], products: int) -> list[float]:
    """Seconds of processor time that each way to multiply takes for a product, by one thread: the least of six turns.

    By the clock, and by several threads of which one may have to wait, other programs would decide: beside them the
    ratio of two ways was anything from 0.2 to 3. The time of one thread says the same beside others
    (docs/decisions.md).

    Args:
        ways: functions that each multiply once. One that raises a RuntimeError does not work here: infinite.
        products: how many products are timed in a turn.
    """
    taken = [math.inf] * len(ways)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(_TIMES):
            for number, product in enumerate(ways):
                with contextlib.suppress(RuntimeError):
                    product()  # the first one chooses a kernel
                    started = time.thread_time()
                    for _ in range(products):
                        product()
                    taken[number] = min(taken[number], (time.thread_time() - started) / products)
    finally:
        torch.set_num_threads(threads)
    return taken
