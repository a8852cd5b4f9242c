"""How a CPU's weights are laid out for inference, and how hidden states are multiplied by them then.

Plain weights lie [out, in]. Where oneDNN multiplies a few rows faster by weights in a layout of its own, they are laid
out so once: prepacked, as PyTorch's compiler does for inference. A processor's name does not tell which is faster, nor
whether MKL, PyTorch's default on most, or oneDNN multiplies fp32 faster by plain weights (docs/decisions.md).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.gpt2.products import Once, least_seconds

#: How weights are laid out and multiplied: "plain" by PyTorch's default, "onednn" plain by oneDNN.
Layout = Literal["plain", "onednn", "prepacked"]

#: How many times as fast as PyTorch's default oneDNN must be in fp32. Measured so far: 0.9 on Intel's, 2 on AMD's.
ONEDNN_MARGIN = 1.4
#: How many times as fast as by plain weights products of several rows must be by prepacked ones.
PREPACKED_MARGIN = 1.1
#: Rows of the products that are timed, and operations that are timed at least.
_ROWS, _OPERATIONS = 16, 40_000_000


def at_once(what: str, measure: Callable[[], str]) -> str:  # noqa: ARG001
    """Measure without keeping what was found: for answers that are no results of a stage."""
    return measure()


def layout_for(dtype: torch.dtype, device: torch.device, width: int, rows: int, once: Once = at_once) -> Layout:
    """The layout of weights with which a device answers fastest.

    Args:
        dtype: dtype of the weights, fp32 or bf16.
        device: device of the weights. A GPU has its own ways, and "plain" leaves them to it.
        width: width of the model's embeddings.
        rows: rows that are answered at a time. A single row takes longer by prepacked weights on some processors.
        once: keeps what is measured, so that it stays the same.
    """
    if device.type != "cpu":
        return "plain"
    several = rows > 1
    name = f"{str(dtype).removeprefix('torch.')}, width {width}, {'several rows' if several else 'one row'}"
    found = once(f"layout of weights, {name}", lambda: fastest(dtype, width, several=several))
    return "prepacked" if found == "prepacked" else "onednn" if found == "onednn" else "plain"


def fastest(dtype: torch.dtype, width: int, *, several: bool) -> Layout:
    """The layout with which this processor multiplies fastest; where a way does not work, it is none.

    Args:
        dtype: dtype of the weights.
        width: width of the model's embeddings.
        several: whether several rows are multiplied at a time.
    """
    plain, onednn, prepacked = product_seconds(dtype, width)
    found: Layout = "onednn" if plain > ONEDNN_MARGIN * onednn else "plain"
    return "prepacked" if several and min(plain, onednn) > PREPACKED_MARGIN * prepacked else found


@torch.inference_mode()
def product_seconds(dtype: torch.dtype, width: int) -> tuple[float, float, float]:
    """Seconds of processor time of one thread for a product of 16 rows [16, width] x [width, 4 * width].

    It draws from a generator of its own, so that no other random number changes.

    Returns:
        By plain weights, by plain ones through oneDNN, and by prepacked ones; infinite where that does not work, or in
        bf16, which PyTorch multiplies by oneDNN anyway.
    """
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, generator=generator).to(dtype) for shape in ((_ROWS, width), (4 * width, width)))
    ways: list[Callable[[], Tensor]] = [lambda: F.linear(x, weight)]
    ways.append((lambda: by_onednn(x, weight)) if dtype == torch.float32 else _nothing)
    try:
        kept = prepack(weight)
        ways.append(lambda: by_prepacked(x, kept))
    except (RuntimeError, AttributeError):  # another build of PyTorch, or a processor without this dtype's units
        ways.append(_nothing)
    plain, onednn, prepacked = least_seconds(ways, max(2, _OPERATIONS // (8 * _ROWS * width**2)))
    return plain, onednn, prepacked


def prepack(weight: Tensor) -> Tensor:
    """A weight [out, in] in oneDNN's own layout, which only `by_prepacked` reads.

    Raises:
        RuntimeError, AttributeError: PyTorch was built without it, or the processor has no units for the dtype.
    """
    if not torch.backends.mkldnn.enabled or not torch.backends.mkldnn.is_available():
        raise RuntimeError("oneDNN is not there, or is switched off")
    made: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight)
    return made


def by_prepacked(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """[N, in] to [N, out] by a `prepack` weight and a bias [out], all of one dtype."""
    made: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return made


def by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """[N, in] to [N, out] by a plain weight [out, in] and a bias [out] in fp32, through oneDNN.

    Raises:
        RuntimeError: PyTorch was built without oneDNN.
    """
    return F.linear(x.to_mkldnn(), weight, bias).to_dense()


def no_onednn() -> contextlib.AbstractContextManager[None]:
    """A context in which PyTorch multiplies without oneDNN."""
    return torch.backends.mkldnn.flags(enabled=False, deterministic=None, allow_tf32=None, fp32_precision=None)


def _nothing() -> Tensor:
    raise RuntimeError("there is no such way")
