"""A GPT-2's files from where they are, checked by SHA-256 and by config.json, as one model.safetensors."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from stages.common.errors import ConfigError, DataError
from stages.common.files import atomic_file, read_json
from stages.download import shards
from stages.download.contents import refuse_other_contents
from stages.download.shards import INDEX, WEIGHTS
from stages.params.download import ModelSource

KEY = "download.model"
CONFIG = "config.json"
#: Files that hold the same weights in formats that are not read here. Those of PyTorch run code when they are read.
OTHER_FORMATS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")

_OTHER_REPO = f"correct {KEY}.repo in params.yaml"
_SIZES = ("n_layer", "n_head", "n_embd", "n_positions")
#: The network in stages/gpt2. A key that config.json leaves out has this value in transformers as well.
_ARCHITECTURE = {
    "model_type": "gpt2",
    "vocab_size": 50257,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "tie_word_embeddings": True,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}
_NEEDED = ("model_type", "vocab_size")


class Origin(Protocol):
    """A source of a model's files.

    Attributes:
        name: its name for messages.
        is_cache: whether nobody writes into its files, so that a hard link to one may be given away.
    """

    name: str
    is_cache: bool

    def find(self, file: str) -> Path | None:
        """The path of a file, fetched first if need be; None if there is no such file."""

    def has(self, file: str) -> bool:
        """Whether there is such a file, without fetching it."""

    def renew(self, paths: Sequence[Path]) -> bool:
        """Remove fetched copies that are damaged, so that they are fetched again; returns whether there were any."""


def bring(origin: Origin, source: ModelSource, folder: Path) -> None:
    """Put model.safetensors and config.json into a folder. Shards become one file.

    Args:
        origin: the source of the files.
        source: the section download.model of params.yaml.
        folder: an existing folder.

    Raises:
        DataError: a file is not the one expected.
        ServiceUnavailable: the source does not answer.
        ConfigError: the source has no such file, or the model has another architecture than params.yaml says.
    """
    [config] = _checked(origin, [CONFIG], source.config_sha256, f"{KEY}.config_sha256")
    check_config(read_json(config, made_by=_OTHER_REPO), source)
    weights = _checked(origin, names_of_weights(origin), source.sha256, f"{KEY}.sha256")
    _put(origin, config, folder / CONFIG)
    if [path.name for path in weights] == [WEIGHTS]:
        _put(origin, weights[0], folder / WEIGHTS)
    else:
        shards.join(weights, folder / WEIGHTS, name=origin.name, fix=_OTHER_REPO)


def names_of_weights(origin: Origin) -> list[str]:
    """The names of the files with the weights: one, or those that an index lists.

    Raises:
        ConfigError: there are no weights as safetensors.
        DataError: the index lists no shards.
    """
    if origin.find(WEIGHTS) is not None:
        return [WEIGHTS]
    index = origin.find(INDEX)
    if index is not None and origin.renew([index]):  # nothing else tells that it is damaged: no SHA-256 of it is pinned
        index = origin.find(INDEX)
    if index is not None:
        name = f"{INDEX} of {origin.name}"
        refuse_other_contents(index, name=name, fix=_OTHER_REPO)
        return shards.names_of(read_json(index, made_by=_OTHER_REPO), name=name, fix=_OTHER_REPO)
    others = ", ".join(file for file in OTHER_FORMATS if origin.has(file))
    raise ConfigError(
        f"{origin.name}: no {WEIGHTS} and no {INDEX}" + (f"; it has {others}, which is not read" if others else ""),
        f"set {KEY}.repo (and {KEY}.revision) in params.yaml to one that has safetensors"
        + (", or convert these with transformers: save_pretrained(FOLDER)" if others else ""),
    )


def found(origin: Origin, names: Sequence[str]) -> list[Path]:
    """The paths of files, none of which is empty, a web page or a Git LFS pointer.

    Raises:
        ConfigError: there is no such file.
        DataError: a file is one of those.
    """
    paths = _paths(origin, names)
    for path, name in zip(paths, names, strict=True):
        refuse_other_contents(path, name=f"{name} of {origin.name}", fix=_OTHER_REPO)
    return paths


def _paths(origin: Origin, names: Sequence[str]) -> list[Path]:
    paths = {name: origin.find(name) for name in names}
    if missing := [name for name, path in paths.items() if path is None]:
        what = f"{origin.name}: no {', '.join(missing)}"
        raise ConfigError(what, f"correct {KEY}.repo (and {KEY}.revision) in params.yaml")
    return [path for path in paths.values() if path is not None]


def _checked(origin: Origin, names: Sequence[str], expected: str | None, key: str) -> list[Path]:
    """The paths of files that have, together, the expected SHA-256. None expects nothing, since DVC watches them."""
    damaged = False
    for _ in range(2):
        digest = None if expected is None else shards.digest(_paths(origin, names))
        if digest == expected:
            return found(origin, names)
        damaged = origin.renew(_paths(origin, names))
        if not damaged:
            found(origin, names)  # says so if it is a web page, whose SHA-256 nobody should pin
            break
    shown = names[0] if len(names) == 1 else f"the {len(names)} shards"
    fix = f"correct {key} in params.yaml, if this is the model that you want"
    if damaged:
        fix = "run the same command again: the files were damaged on the way, twice"
    raise DataError(f"{shown} of {origin.name}: wrong SHA-256: expected {expected}, found {digest}", fix)


def check_config(config: Any, source: ModelSource) -> None:
    """Compare config.json with params.yaml and with the network in stages/gpt2.

    Raises:
        ConfigError: names every key that differs, with what was expected and what was found.
    """
    if not isinstance(config, dict):
        raise ConfigError(
            f"{CONFIG} of {source.repo}: expected a JSON object, found {type(config).__name__}",
            f"correct {KEY}.repo in params.yaml",
        )
    expected = {name: getattr(source, name) for name in _SIZES} | _ARCHITECTURE
    problems = []
    for name, value in expected.items():
        found = config.get(name, None if name in (*_SIZES, *_NEEDED) else value)
        if found != value:
            where = f" ({KEY}.{name} in params.yaml)" if name in _SIZES else ""
            problems.append(f"  - {name}: expected {value!r}{where}, found {found!r}")
    inner = config.get("n_inner")
    if inner not in (None, 4 * source.n_embd):
        problems.append(f"  - n_inner: expected null or 4 x n_embd = {4 * source.n_embd}, found {inner!r}")
    if problems:
        raise ConfigError(
            f"{CONFIG} of {source.repo} is of another model:\n" + "\n".join(problems),
            f"correct {KEY}.repo, or the sizes, in params.yaml",
        )


def _put(origin: Origin, path: Path, target: Path) -> None:
    """Make a hard link to a file of a cache; copy it if it is on another file system or has another owner."""
    real = path.resolve()
    if origin.is_cache and real.stat().st_uid == os.geteuid():
        try:
            os.link(real, target)
        except OSError:
            pass
        else:
            return
    with open(real, "rb") as stream, atomic_file(target, "wb") as copy:
        shutil.copyfileobj(stream, copy, 1 << 20)
