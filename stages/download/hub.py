"""GPT-2's published weights from the Hugging Face hub, at one commit, checked by SHA-256 and by config.json.

The variables of huggingface_hub itself say where the hub and its cache are, and whether the hub may be asked at all:
HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_TOKEN. The only retries are those of huggingface_hub, which also
resume a broken transfer.
"""

from __future__ import annotations

import os
import shutil
from http import HTTPStatus
from pathlib import Path
from typing import Any

from stages.common.errors import ConfigError, DataError, PipelineError, ServiceUnavailable
from stages.common.files import atomic_file, read_json, sha256
from stages.params.download import ModelSource

KEY = "download.model"
WEIGHTS = "model.safetensors"
CONFIG = "config.json"

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


def fetch_model(source: ModelSource, folder: Path) -> None:
    """Put model.safetensors and config.json into a folder.

    The weights are a hard link into the hub's cache where that is possible, so that they are on disk only once. Neither
    huggingface_hub nor DVC writes into a file that it has stored; DVC may make the file read-only.

    Args:
        source: the section download.model of params.yaml, with ``weights: hub``.
        folder: an existing folder.

    Raises:
        DataError: a file is not the one expected.
        ServiceUnavailable: the hub does not answer.
        ConfigError: the hub may not be asked (HF_HUB_OFFLINE), has no such file or refuses access to it, or the model
            has another architecture than params.yaml says.
    """
    pinned = (source.repo, source.revision, source.config_sha256, source.sha256)
    repo, revision, config_sha256, weights_sha256 = (value or "" for value in pinned)
    assert all(pinned), "checked by ModelSource"
    config = _cached(repo, revision, CONFIG)
    _check_hash(config, config_sha256, CONFIG, "config_sha256")
    check_config(read_json(config, made_by="run the same command again"), source)
    weights = _cached(repo, revision, WEIGHTS)
    _check_hash(weights, weights_sha256, WEIGHTS, "sha256")
    _link_or_copy(config, folder / CONFIG)
    _link_or_copy(weights, folder / WEIGHTS)


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


def _cached(repo: str, revision: str, name: str) -> Path:
    """The path of a file in the hub's cache, downloaded first if it is not there."""
    # huggingface_hub reads both when it is first imported. Xet adds a cache of its own and a second protocol; plain
    # HTTP serves the same bytes.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    import httpx2
    from huggingface_hub import hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, name, revision=revision))
    except HFValidationError as error:
        raise ConfigError(f"{KEY}.repo: {error}", f"correct {KEY}.repo in params.yaml") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, LocalEntryNotFoundError) as error:
        raise _explain(error, hf_hub_url(repo, name, revision=revision)) from error
    except OSError as error:
        # huggingface_hub raises an OSError without a number for a file that is shorter than announced. An error with a
        # number comes from the operating system: a full disk, for example.
        if error.errno is not None:
            raise
        raise _explain(error, hf_hub_url(repo, name, revision=revision)) from error


def _explain(error: Exception, url: str) -> PipelineError:
    """An error of huggingface_hub or of its HTTP library as one of ours."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    root: BaseException = error
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        root = error.__cause__
    if isinstance(root, OfflineModeIsEnabled):
        return ConfigError(
            f"{url}: not in the hub's cache, and HF_HUB_OFFLINE forbids to ask for it",
            "unset HF_HUB_OFFLINE (and TRANSFORMERS_OFFLINE), or point HF_HUB_CACHE to a cache that has it",
        )
    again = "check the network and HF_ENDPOINT, and run the same command again"
    if not isinstance(root, HfHubHTTPError):
        return ServiceUnavailable(f"{url}: {_first_line(root)}", again)
    status = root.response.status_code
    answer = f"{url}: answered {status} {root.response.reason_phrase}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return ConfigError(answer, f"correct {KEY}.repo in params.yaml, or set HF_TOKEN to a token that may read it")
    transient = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in (
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
    )
    if transient:
        return ServiceUnavailable(answer, again)
    return ConfigError(answer, f"correct {KEY}.repo and {KEY}.revision in params.yaml")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _check_hash(path: Path, expected: str, name: str, key: str) -> None:
    if (found := sha256(path)) != expected:
        # The snapshot's file is a link to a blob. As long as the blob exists, the file is not downloaded again.
        raise DataError(
            f"{name} from the hub: wrong SHA-256: expected {expected}, found {found}",
            f"correct {KEY}.{key} in params.yaml, or, if the transfer went wrong: rm {path.resolve()}",
        )


def _link_or_copy(cached: Path, target: Path) -> None:
    """Make a hard link to a file in the hub's cache; copy it if it is on another file system or has another owner."""
    blob = cached.resolve()
    if blob.stat().st_uid == os.geteuid():
        try:
            os.link(blob, target)
        except OSError:
            pass
        else:
            return
    with open(blob, "rb") as stream, atomic_file(target, "wb") as copy:
        shutil.copyfileobj(stream, copy, 1 << 20)
