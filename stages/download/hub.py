"""Files from the Hugging Face hub at one commit: GPT-2's published weights, and datasets.

The variables of huggingface_hub itself say where the hub and its cache are, and whether the hub may be asked at all:
HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_TOKEN. The token does not go unencrypted to another machine. The
only retries are those of huggingface_hub, which also resume a broken transfer, and one more for a file that was damaged
on its way.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stages.common.errors import ConfigError, DataError, PipelineError, ServiceUnavailable
from stages.common.files import sha256
from stages.common.reasons import reason
from stages.download.model_files import KEY, bring
from stages.download.pace import VARIABLE, Pace, TooSlow, measured
from stages.params.download import ModelSource
from stages.running import hub_client
from stages.running.proxies import Proxy, proxy_for

if TYPE_CHECKING:
    import httpx2

#: The key of params.yaml that names a dataset.
DATASET_KEY = "download.data.source"

_AGAIN = "check the network and HF_ENDPOINT, and run the same command again"


def fetch_model(source: ModelSource, folder: Path) -> None:
    """Put model.safetensors and config.json into a folder.

    The weights are a hard link into the hub's cache where that is possible, so that they are on disk only once. Neither
    huggingface_hub nor DVC writes into a file that it has stored; DVC may make the file read-only.

    Args:
        source: the section download.model of params.yaml, with ``weights: hub``.
        folder: an existing folder.

    Raises:
        DataError: a file is not the one expected.
        ServiceUnavailable: the hub does not answer, or all but stands still.
        ConfigError: the hub may not be asked (HF_HUB_OFFLINE), has no such file or refuses access to it, or the model
            has another architecture than params.yaml says.
    """
    assert source.repo, "checked by ModelSource"
    assert source.revision, "checked by ModelSource"
    load()
    bring(Repository(source.repo, source.revision), source, folder)


def load() -> None:
    """Import what asks the hub, with the project's settings."""
    # huggingface_hub reads both when it is first imported. Xet adds a cache of its own and a second protocol; plain
    # HTTP serves the same bytes.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    import httpx2  # noqa: F401
    import huggingface_hub  # noqa: F401


def cache_folder() -> Path:
    """The hub's cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE).expanduser()


class Repository:
    """A repository of the hub, at one commit, seen through huggingface_hub's cache.

    Args:
        repo: owner and name.
        revision: the commit.
        kind: what it holds, a model or a dataset.
    """

    is_cache = True

    def __init__(self, repo: str, revision: str, kind: Literal["model", "dataset"] = "model") -> None:
        self.name = f"{repo} at {revision}"
        self._repo, self._revision, self._kind = repo, revision, kind
        # The keys of params.yaml to correct: for the repository, and for it together with its commit.
        self._keys = (
            (f"{KEY}.repo", f"{KEY}.repo and {KEY}.revision") if kind == "model" else (DATASET_KEY, DATASET_KEY)
        )

    def find(self, file: str) -> Path | None:
        """The path of a file in the hub's cache, downloaded first if it is not there; None if the hub has none."""
        import httpx2
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

        url = self._url(file)
        proxy = proxy_for(url)
        try:
            with self._measured(file, proxy):
                return Path(hf_hub_download(self._repo, file, revision=self._revision, repo_type=self._kind))
        except RemoteEntryNotFoundError:
            return None
        except TooSlow as error:
            fix = f"run the same command again, which goes on where this one ended; {VARIABLE} says how long to wait"
            raise ServiceUnavailable(f"{url}: {error}", fix) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, LocalEntryNotFoundError) as error:
            if self._is_known_to_be_absent(file):
                return None
            raise _explain(error, url, proxy, self._keys) from error
        except OSError as error:
            # huggingface_hub raises an OSError without a number for a file that is shorter than announced. An error
            # with a number comes from the operating system: a full disk, for example.
            if error.errno is not None:
                raise
            raise _explain(error, url, proxy, self._keys) from error

    def names(self) -> list[str]:
        """The paths of all files of the repository. The hub is asked each time: its cache has no list.

        Raises:
            ServiceUnavailable, ConfigError: as `fetch_model`.
        """
        import httpx2
        from huggingface_hub import HfApi

        url = self._url("")
        proxy = proxy_for(url)
        try:
            with self._measured("the list of files", proxy):
                return list(HfApi().list_repo_files(self._repo, revision=self._revision, repo_type=self._kind))
        except TooSlow as error:
            raise ServiceUnavailable(f"{url}: {error}", _AGAIN) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise _explain(error, url, proxy, self._keys) from error

    def has(self, file: str) -> bool:
        """Whether the hub has a file; it is not downloaded. Where the hub cannot be asked, it counts as absent."""
        from huggingface_hub import get_hf_file_metadata

        try:
            with self._measured(file, proxy_for(self._url(file))):
                get_hf_file_metadata(self._url(file))
        except Exception:  # only words of a message depend on it
            return False
        return True

    def length(self, file: str, seconds: float) -> int | None:
        """Bytes of a file on the hub, which is asked for its headers alone; None if the hub has no such file.

        Args:
            file: name of the file.
            seconds: longest wait for the answer.

        Raises:
            TimeoutError: the hub has not answered in time.
            ServiceUnavailable, ConfigError: as `fetch_model`.
        """
        import httpx2
        from huggingface_hub import get_hf_file_metadata
        from huggingface_hub.errors import RemoteEntryNotFoundError

        url = self._url(file)
        proxy = proxy_for(url)
        try:
            with self._measured(file, proxy):
                return int(get_hf_file_metadata(url, timeout=seconds).size or 0)
        except RemoteEntryNotFoundError:
            return None
        except httpx2.TimeoutException as error:
            raise TimeoutError(f"{url}: no answer within {seconds:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise _explain(error, url, proxy, self._keys) from error

    def cached(self, file: str) -> Path | None:
        """The path of a file in the hub's cache; None if it is not there. The hub is not asked."""
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self._repo, file, revision=self._revision, repo_type=self._kind)
        return Path(found) if isinstance(found, str) else None

    def renew(self, paths: Sequence[Path]) -> bool:
        """Remove files from the hub's cache that are damaged, so that they are downloaded again.

        A blob's name is its ETag: the SHA-256 of a file in LFS, else the SHA-1 of Git. A file that agrees with its name
        is as the hub sends it.

        Args:
            paths: files of the cache.

        Returns:
            Whether there were any.

        Raises:
            DataError: there are, and HF_HUB_OFFLINE forbids to download them again.
        """
        from huggingface_hub import is_offline_mode

        damaged = [path for path in paths if not _is_whole(path.resolve())]
        if damaged and is_offline_mode():
            fix = "unset HF_HUB_OFFLINE (and TRANSFORMERS_OFFLINE) and run the same command again, which downloads it"
            raise DataError(f"{damaged[0]}: damaged in the hub's cache", fix)
        for path in damaged:
            blob = path.resolve()
            path.unlink()
            blob.unlink(missing_ok=True)
        return bool(damaged)

    @contextlib.contextmanager
    def _measured(self, file: str, proxy: Proxy | None) -> Iterator[None]:
        """Let huggingface_hub's requests within the block be counted, and `TooSlow` end one that stands still."""
        from huggingface_hub import set_client_factory

        with measured(f"{file} of {self._repo}") as pace:
            set_client_factory(functools.partial(_client, pace, self._url(file), proxy))
            yield

    def _url(self, file: str) -> str:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.errors import HFValidationError

        try:
            return hf_hub_url(self._repo, file, revision=self._revision, repo_type=self._kind)
        except HFValidationError as error:
            raise ConfigError(
                f"{self._keys[0]}: expected OWNER/NAME on the hub, found {self._repo!r}",
                f"correct {self._keys[0]} in params.yaml",
            ) from error

    def _is_known_to_be_absent(self, file: str) -> bool:
        """Whether the hub has said earlier that it has no such file, and cannot be asked."""
        from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

        return (
            try_to_load_from_cache(self._repo, file, revision=self._revision, repo_type=self._kind) is _CACHED_NO_EXIST
        )


def _is_whole(blob: Path) -> bool:
    """Whether a file of the hub's cache agrees with its name."""
    if len(blob.name) == hashlib.sha256().digest_size * 2:
        return sha256(blob) == blob.name
    if len(blob.name) == hashlib.sha1(usedforsecurity=False).digest_size * 2:
        data = blob.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == blob.name
    return True  # another cache than huggingface_hub's own; nothing is known of it


def _client(pace: Pace, url: str, proxy: Proxy | None) -> httpx2.Client:
    """huggingface_hub's own HTTP client, whose answers are counted.

    Args:
        pace: the counter.
        url: what is asked for, for messages.
        proxy: the proxy through which it is asked.

    Raises:
        ConfigError: the proxy is of a kind that cannot be used. Requests raise it that would show the token to others.
    """
    import httpx2

    def answered(response: httpx2.Response) -> None:
        length = response.headers.get("Content-Length", "")
        pace.answered(int(length) if length.isascii() and length.isdigit() else None)
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _counted(response.stream, pace)

    without = "; or HF_HUB_DISABLE_IMPLICIT_TOKEN=1, if that hub needs none"
    return hub_client.client(url, proxy, without_token=without, asked=pace.asked, answered=answered)


def _counted(stream: httpx2.SyncByteStream, pace: Pace) -> httpx2.SyncByteStream:
    import httpx2

    class Counted(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            for chunk in stream:
                pace.received(len(chunk))
                yield chunk

        def close(self) -> None:
            pace.complete()
            stream.close()

    return Counted()


def _explain(error: Exception, url: str, proxy: Proxy | None, keys: tuple[str, str]) -> PipelineError:
    """An error of huggingface_hub or of its HTTP library as one of ours.

    Args:
        error: the error.
        url: what was asked for.
        proxy: the proxy through which it was asked.
        keys: keys of params.yaml for the repository, and for it together with its commit.
    """
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    root: BaseException = error
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        root = error.__cause__
    if isinstance(root, OfflineModeIsEnabled):
        return ConfigError(
            f"{url}: not in the hub's cache, and HF_HUB_OFFLINE forbids to ask for it",
            "unset HF_HUB_OFFLINE (and TRANSFORMERS_OFFLINE), or point HF_HUB_CACHE to a cache that has it",
        )
    if proxy is not None:
        url = f"{url} ({proxy})"
    of_proxy = f"; or {proxy.fix}" if proxy is not None else ""
    again = _AGAIN + of_proxy
    if not isinstance(root, HfHubHTTPError):
        return ServiceUnavailable(f"{url}: {reason(root)}", again)
    status = root.response.status_code
    answer = f"{url}: answered {status} {root.response.reason_phrase}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        fix = f"correct {keys[0]} in params.yaml, or set HF_TOKEN to a token that may read it"
        return ConfigError(answer, fix + of_proxy)
    transient = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in (
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
    )
    if transient:
        return ServiceUnavailable(answer, again)
    return ConfigError(answer, f"correct {keys[1]} in params.yaml{of_proxy}")
