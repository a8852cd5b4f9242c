"""How fast this processor multiplies matrices: in fp32 and in bf16, by MKL and by oneDNN, with packed weights or plain.

Its name and its units do not tell: of two processors with units for bf16, one takes half the time that it takes in
fp32, or with AMX a sixth, and another one twice that time. In fp32 one takes half the time by oneDNN, and another one
less by MKL (docs/decisions.md).
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.common.records import Precision
from stages.gpt2 import runtime

#: Rows of the product that is timed, and operations that are timed at least.
_ROWS, _OPERATIONS = 256, 400_000_000
#: Times that each is timed, in turn: the fastest counts.
_TIMES = 6
#: How many times as fast fp32 must be. All that is no matrix product moves half the bytes in bf16, which is faster.
MARGIN = 1.25
#: How many times as fast as MKL oneDNN must be in fp32. Processors seen so far are far from that: 0.9, and 2.
ONEDNN_MARGIN = 1.4
#: The product that is timed for it: rows, width of the input and of the output.
_FP32 = (64, 512, 1024)
#: How many times as fast products of several rows must be with packed weights, and at least those of a single row.
PACKED_MARGIN, PACKED_MARGIN_OF_ONE = 1.1, 0.8
#: The rows whose products are timed for it, of the width of GPT-2's smallest model.
_SEVERAL, _WIDTH = 16, 768


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

    By the clock, and by several threads of which one may have to wait, other programs would decide: beside them the
    ratio was anything from 0.2 to 3. The time of one thread says the same beside others (docs/decisions.md).
    """
    a, b = _factors((_ROWS, width), (width, 4 * width))
    a_16, b_16 = a.to(torch.bfloat16), b.to(torch.bfloat16)
    products = max(1, _OPERATIONS // (8 * _ROWS * width**2))
    fp32, bf16 = _seconds([lambda: torch.mm(a, b), lambda: torch.mm(a_16, b_16)], products)
    return fp32, bf16


@functools.cache
def onednn_is_faster() -> bool:
    """Whether this processor multiplies fp32 much faster by oneDNN than by PyTorch's default, which is MKL on most.

    Measured once in a process, in 0.03 s. No processor seen is near the margin, so that each process finds the same.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    default, onednn = fp32_seconds()
    return default > ONEDNN_MARGIN * onednn


@torch.no_grad()
def fp32_seconds() -> tuple[float, float]:
    """Seconds of processor time of a product in fp32 by PyTorch's default and by oneDNN, by one thread."""
    rows, inputs, outputs = _FP32
    x, weight = _factors((rows, inputs), (outputs, inputs))
    default, onednn = _seconds([lambda: F.linear(x, weight), lambda: by_onednn(x, weight)], 2)
    return default, onednn


@functools.cache
def packing_is_faster(dtype: torch.dtype) -> bool:
    """Whether this processor multiplies a few rows faster by weights in oneDNN's own layout than by plain ones.

    Measured once in a process and for each dtype, in 0.1 s. Where it is faster at all, it is by more than measurements
    differ (docs/decisions.md).
    """
    if not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    plain, with_packed = packing_seconds(dtype, _SEVERAL)
    plain_one, with_packed_one = packing_seconds(dtype, 1)
    several, one = plain / with_packed, plain_one / with_packed_one
    return several > PACKED_MARGIN and one > PACKED_MARGIN_OF_ONE


@torch.inference_mode()
def packing_seconds(dtype: torch.dtype, rows: int) -> tuple[float, float]:
    """Seconds of processor time of one thread for a product by a weight in its fastest plain way, and by a packed one.

    Args:
        dtype: dtype of the factors.
        rows: rows of the product.
    """
    x, weight = (factor.to(dtype) for factor in _factors((rows, _WIDTH), (4 * _WIDTH, _WIDTH)))
    kept = packed(weight)
    ways = [lambda: by_packed(x, kept), lambda: F.linear(x, weight)]
    if dtype == torch.float32 and onednn_is_faster():
        ways[1] = lambda: by_onednn(x, weight)
    elif dtype == torch.bfloat16 and rows == 1:
        ways.append(lambda: _without_onednn(x, weight))
    with_packed, *plain = _seconds(ways, 2)
    return min(plain), with_packed


def packed(weight: Tensor) -> Tensor:
    """A weight [out, in] in the layout by which oneDNN multiplies it fastest; nothing else can read it."""
    made: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight)
    return made


def by_packed(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The product with a `packed` weight: [N, in] to [N, out]."""
    made: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return made


def no_onednn() -> contextlib.AbstractContextManager[None]:
    """A context in which PyTorch multiplies without oneDNN."""
    return torch.backends.mkldnn.flags(enabled=False, deterministic=None, allow_tf32=None, fp32_precision=None)


def _without_onednn(x: Tensor, weight: Tensor) -> Tensor:
    with no_onednn():
        return F.linear(x, weight)


def by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The product with a weight [out, in] in fp32, by oneDNN: [N, in] to [N, out]."""
    return F.linear(x.to_mkldnn(), weight, bias).to_dense()


def _factors(*shapes: tuple[int, int]) -> list[Tensor]:
    """Random matrices in fp32, from a generator of their own, so that no other random number changes."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def _seconds(ways: Sequence[Callable[[], Tensor]], products: int) -> list[float]:
    """Seconds of processor time of one thread that each way takes for a product, the least of several times in turn."""
    taken = [math.inf] * len(ways)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(_TIMES):
            for number, product in enumerate(ways):
                product()  # the first one chooses a kernel
                started = time.thread_time()
                for _ in range(products):
                    product()
                taken[number] = min(taken[number], (time.thread_time() - started) / products)
    finally:
        torch.set_num_threads(threads)
    return taken
