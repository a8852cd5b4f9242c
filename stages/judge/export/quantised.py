"""Weights in fewer bits: which type each tensor of a GGUF file gets, and the bytes of it.

The types are those of llama.cpp's own quantiser (`llama_tensor_get_type` in src/llama-quant.cpp) for GPT-2: its
``q4_k_m`` keeps more bits where errors cost most. gguf makes F16 and Q8_0 itself; the K types are made by ggml, the
library in xllamacpp.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from stages.judge.export.optional import need

#: The number of the file type in the header, by the name of the format (`llama_ftype` in include/llama.h).
FILE_TYPES = {"f32": 0, "f16": 1, "q8_0": 7, "q4_k_m": 15}
#: Formats of fewer bits than the weights that were trained.
QUANTISED = tuple(name for name in FILE_TYPES if name != "f32")

#: A K type packs blocks of 256 weights; a row of another width gets a type of blocks of 32, or of single weights.
_NARROW = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
_LAYER = re.compile(r"blk\.(\d+)\.")


def type_of(name: str, shape: tuple[int, ...], layers: int, quantisation: str) -> str:
    """The type of a tensor, by gguf's name for it.

    Args:
        name: name in the file, such as ``blk.0.ffn_down.weight``.
        shape: its shape, [rows, width].
        layers: number of the model's layers.
        quantisation: a key of `FILE_TYPES`.

    Returns:
        F32 for what has one dimension, and for the table of positions.
    """
    if len(shape) < 2 or name == "position_embd.weight" or quantisation == "f32":
        return "F32"
    if quantisation in ("f16", "q8_0"):
        narrow = quantisation == "q8_0" and shape[-1] % 32
        return "F16" if narrow else quantisation.upper()
    wanted = _in_q4_k_m(name, layers)
    if shape[-1] % 256 == 0:
        return wanted
    return _NARROW[wanted] if shape[-1] % 32 == 0 else "F16"


def _in_q4_k_m(name: str, layers: int) -> str:
    """The type of a matrix in ``q4_k_m``: the table of tokens is the output too, and some layers count for more."""
    if name == "token_embd.weight":
        return "Q6_K"
    found = _LAYER.match(name)
    layer = int(found[1]) if found else 0
    if "attn_qkv" in name:
        return "Q5_K"
    more = layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2
    return "Q6_K" if "ffn_down" in name and more else "Q4_K"


def packed(values: np.ndarray, kind: str) -> np.ndarray:
    """A matrix in a type, as bytes.

    Args:
        values: float32 [rows, width]; the width is a multiple of the type's block.
        kind: name of the type.

    Returns:
        uint8 [rows, bytes a row]; float32 or float16 as they are.

    Raises:
        ConfigError: the package that makes the type is not installed.
    """
    gguf = need("gguf", f"weights in {kind}")
    if kind in ("F32", "F16"):
        return values.astype(np.float32 if kind == "F32" else np.float16)
    number = getattr(gguf.GGMLQuantizationType, kind)
    if not kind.endswith("_K"):
        found: np.ndarray = gguf.quants.quantize(values, number)
        return found
    return _by_ggml(values, int(number), gguf.GGML_QUANT_SIZES[number])


def _by_ggml(values: np.ndarray, number: int, block: tuple[int, int]) -> np.ndarray:
    """Quantise with ggml: ``ggml_quantize_chunk`` in ggml/include/ggml.h."""
    rows, width = values.shape
    made = np.empty((rows, width // block[0] * block[1]), dtype=np.uint8)
    source = np.ascontiguousarray(values, dtype=np.float32)
    quantize = _function()
    quantize(number, source.ctypes.data, made.ctypes.data, 0, rows, width, None)
    return made


def _function() -> Callable[..., int]:
    library: Any = need("xllamacpp", "a K quantisation")
    found = ctypes.CDLL(library.xllamacpp.__file__).ggml_quantize_chunk
    found.restype = ctypes.c_size_t
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    found.argtypes = [ctypes.c_int, pointer, pointer, count, count, count, pointer]
    return found
