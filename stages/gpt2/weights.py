"""GPT-2 models on disk, as `transformers` reads and writes them: safetensors and config.json, never pickle."""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from stages.common.errors import DataError
from stages.common.files import read_json, write_json
from stages.common.plurals import counted, word
from stages.gpt2.model import GPT2, LAYER_NORM_EPSILON, GPT2Config
from stages.gpt2.tokenizer import VOCABULARY_SIZE

WEIGHTS = "model.safetensors"
CONFIG = "config.json"

#: What GPT2LMHeadModel puts before the name of every parameter but the head's.
PREFIX = "transformer."
HEAD = "lm_head.weight"
EMBEDDING = "wte.weight"
#: The dtypes that weights may be stored in, as safetensors names them.
DTYPES = ("F64", "F32", "F16", "BF16")
#: Causal masks that some published files carry as tensors; they are constants.
MASKS = (".attn.bias", ".attn.masked_bias")

#: How safetensors writes the operating system's number of an error.
_NUMBER = re.compile(r"os error (\d+)")

#: Standard deviation of random weights (Radford et al. 2018, section 4.1; the published config's initializer_range).
INITIAL_STD = 0.02


def initialise(config: GPT2Config, seed: int) -> GPT2:
    """A GPT-2 of random fp32 weights, a pure function of its sizes and the seed.

    Weights are normal with a standard deviation of 0.02. Those into the residual stream are smaller by sqrt(2 *
    n_layer) (Radford et al. 2019, section 2.3). Biases are 0 and layer norms the identity.
    """
    generator = torch.Generator().manual_seed(seed)
    model = _empty(config)
    state: dict[str, Tensor] = {}
    # Not by to_empty, for which torch would import sympy: that takes as long as all random numbers of a small model.
    for name, parameter in model.named_parameters():
        tensor = state[name] = torch.empty(parameter.shape)
        if name.endswith(".bias"):
            tensor.zero_()
        elif ".ln_" in f".{name}":
            tensor.fill_(1.0)
        else:
            residual = name.endswith("c_proj.weight")
            std = INITIAL_STD / math.sqrt(2 * config.n_layer) if residual else INITIAL_STD
            tensor.normal_(std=std, generator=generator)
    model.load_state_dict(state, assign=True)
    return model


def save(model: GPT2, folder: Path) -> None:
    """Write ``config.json`` and ``model.safetensors`` (fp32, tied head) into an existing folder."""
    tensors = {
        PREFIX + name: parameter.detach().to("cpu", torch.float32).contiguous()
        for name, parameter in model.named_parameters()
    }
    write_tensors(folder / WEIGHTS, tensors)
    write_json(folder / CONFIG, config_json(model.config))


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file.

    Raises:
        OSError: the disk is full, or the file cannot be written.
    """
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        number = _NUMBER.search(str(error))  # without one it is of no file
        code = int(number[1]) if number else errno.EIO
        raise OSError(code, os.strerror(code), str(path)) from None
    path.chmod(0o644)  # safetensors leaves it readable by its owner alone


def load(folder: Path, *, made_by: str, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> GPT2:
    """Read a model as `transformers` saves it or the hub publishes it.

    Args:
        folder: folder with config.json and model.safetensors.
        made_by: the command that makes the folder, told to the user when something in it is wrong.
        dtype: dtype of the parameters in memory.
        device: device of the parameters.

    Raises:
        DataError: a file is missing or damaged; a tensor is missing, superfluous or of the wrong shape or dtype; a
            value is not finite; or an output head differs from the token embedding.
        MemoryError: there is no room for the file; torch raises RuntimeError where there is none for a tensor.
    """
    model = _empty(read_config(folder / CONFIG, made_by=made_by))
    state = {name: tensor.to(device, dtype, copy=True) for name, tensor in _parameters(folder, model, made_by)}
    model.load_state_dict(state, assign=True)
    return model


def check(folder: Path, *, made_by: str) -> None:
    """Check for all that `load` refuses, without a copy of the weights. Arguments and errors are those of `load`."""
    for _ in _parameters(folder, _empty(read_config(folder / CONFIG, made_by=made_by)), made_by):
        pass


def config_json(config: GPT2Config) -> dict[str, Any]:
    """config.json as `transformers` reads it for GPT2LMHeadModel."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_embd": config.n_embd,
        "n_positions": config.n_positions,
        "n_ctx": config.n_positions,
        "vocab_size": config.vocab_size,
        "layer_norm_epsilon": LAYER_NORM_EPSILON,
        "initializer_range": INITIAL_STD,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "bos_token_id": VOCABULARY_SIZE - 1,
        "eos_token_id": VOCABULARY_SIZE - 1,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }


def read_config(path: Path, *, made_by: str) -> GPT2Config:
    """Read the sizes from config.json.

    Raises:
        DataError: the file is missing or not JSON; a size is missing or not a positive whole number; or it describes
            another network.
    """
    tree = read_json(path, made_by=made_by)
    if not isinstance(tree, dict):
        raise DataError(f"{path}: expected an object, found {json.dumps(tree)[:60]}", made_by)
    fixed = {"model_type": "gpt2", "activation_function": "gelu_new", "layer_norm_epsilon": LAYER_NORM_EPSILON}
    for key, expected in fixed.items():
        if tree.get(key, expected) != expected:
            raise DataError(f"{path}: {key}: expected {expected!r}, found {tree[key]!r}", made_by)
    sizes: dict[str, int] = {}
    for key in ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size"):
        value = tree.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise DataError(f"{path}: {key}: expected a positive whole number, found {value!r}", made_by)
        sizes[key] = value
    if sizes["n_embd"] % sizes["n_head"]:
        raise DataError(f"{path}: n_embd ({sizes['n_embd']}) is no multiple of n_head ({sizes['n_head']})", made_by)
    return GPT2Config(**sizes)


def _empty(config: GPT2Config) -> GPT2:
    with torch.device("meta"):
        return GPT2(config).eval()


def _parameters(folder: Path, model: GPT2, made_by: str) -> Iterator[tuple[str, Tensor]]:
    """Yield every parameter from the file, checked, one at a time, so that none is in memory twice."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise DataError(f"{path}: no such file", made_by)
    try:
        with safe_open(path, framework="pt") as tensors:
            stored = _stored_names(path, tensors, model, made_by)
        for name in sorted(stored):
            # Opened again for each: what was read of a file counts as the process's memory as long as it is open.
            with safe_open(path, framework="pt") as tensors:
                tensor = tensors.get_tensor(stored[name])
                # With a NaN both the minimum and the maximum are NaN. isfinite of the tensor would make a copy.
                if not all(end.isfinite() for end in tensor.aminmax()):
                    raise DataError(f"{path}: {name} holds values that are not finite (NaN or infinity)", made_by)
                if name == HEAD and not torch.equal(tensor, tensors.get_tensor(stored[EMBEDDING])):
                    raise DataError(f"{path}: {HEAD} differs from the token embedding; GPT-2's head is tied", made_by)
            if name != HEAD:
                yield name, tensor
            del tensor
    except SafetensorError as error:
        if (number := _NUMBER.search(str(error))) and int(number[1]) == errno.ENOMEM:
            raise MemoryError(f"{path}: {os.strerror(errno.ENOMEM)}") from None  # the file is fine
        raise DataError(f"{path}: not a whole safetensors file", made_by) from None


def _stored_names(path: Path, tensors: Any, model: GPT2, made_by: str) -> dict[str, str]:
    """The name in the file of each parameter, and of the head if it has one. All are checked by the file's header.

    Raises:
        DataError: a tensor is missing, superfluous, there twice, or of the wrong shape or dtype.
    """
    shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
    names: dict[str, str] = {}
    problems = []
    for stored in tensors.keys():  # noqa: SIM118, it is no dict
        name = stored.removeprefix(PREFIX)
        if name.endswith(MASKS):
            continue
        if name in names:
            problems.append(f"{name}: there twice, with and without {PREFIX}")
        names[name] = stored
        header = tensors.get_slice(stored)
        shape, dtype = header.get_shape(), header.get_dtype()
        expected = shapes.get(EMBEDDING if name == HEAD else name)
        if expected is None:
            problems.append(f"{name}: not part of this GPT-2")
        elif shape != expected:
            problems.append(f"{name}: expected shape {tuple(expected)}, found {tuple(shape)}")
        elif dtype not in DTYPES:
            problems.append(f"{name}: expected numbers of one of {', '.join(DTYPES)}, found {dtype}")
    problems += [f"{name}: missing" for name in shapes.keys() - names.keys()]
    if problems:
        listing = "\n".join(f"  - {problem}" for problem in sorted(problems)[:8])
        found = f"{counted(len(problems), 'tensor')} {word(len(problems), 'does', 'do')} not fit {CONFIG}"
        raise DataError(f"{path}: {found}:\n{listing}", made_by)
    return names
