"""A model repository of the Hugging Face hub: what it holds, and a commit to it.

The variables of huggingface_hub say where the hub is and who asks: HF_ENDPOINT, HF_TOKEN, HF_HOME. The token is read by
huggingface_hub alone. It stands in no message, and does not go unencrypted to another machine.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.common.errors import ConfigError, PipelineError, ServiceUnavailable, TemporaryFailure
from stages.common.files import sha256
from stages.common.reasons import causes, reason
from stages.download import hub
from stages.judge.export import token_scopes
from stages.running import hub_client
from stages.running.proxies import Proxy, proxy_for

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub import HfApi

#: Seconds for a connection, for a piece of a file to be taken, and for an answer: a commit takes the hub a while.
_CONNECT, _WRITE, _READ = 20.0, 60.0, 300.0
_TOKEN = "log in with `hf auth login`, or set HF_TOKEN, to a token that may write"  # noqa: S105
_AGAIN = "check the network and HF_ENDPOINT, and run the same command again: it pushes what is exported already"
_CONFLICTS = (HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED)
_TRANSIENT = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
_SHA256_DIGITS = 64
_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_NAMED = "--push OWNER/NAME, with a name that the hub takes"
_LONGEST = 200


@dataclass(frozen=True)
class Held:
    """What a repository holds.

    Attributes:
        commit: its newest commit.
        private: whether only its owners see it.
        digests: the digest of each file: the SHA-256, if it is kept in LFS, else the SHA-1 of its Git blob.
    """

    commit: str
    private: bool
    digests: Mapping[str, str]


class HubRepository:
    """A repository at HF_ENDPOINT, asked with the user's token.

    Args:
        name: owner and name.

    Raises:
        ConfigError: the name is none, there is no token, or HF_HUB_OFFLINE forbids to ask.
    """

    def __init__(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"--push: expected OWNER/NAME on the hub, found {name!r}", _NAMED)
        hub.load()
        from huggingface_hub import HfApi, constants, get_token, is_offline_mode
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils._validators import validate_repo_id

        try:
            validate_repo_id(name)
        except HFValidationError as error:
            why = str(error).replace(f": {name!r}", "").rstrip(".")
            raise ConfigError(f"--push: expected OWNER/NAME on the hub, found {name!r}: {why}", _NAMED) from error
        self.name = name
        self.address = f"{constants.ENDPOINT}/{name}"
        if is_offline_mode():
            fix = "unset HF_HUB_OFFLINE (and TRANSFORMERS_OFFLINE)"
            raise ConfigError(f"--push {name}: HF_HUB_OFFLINE forbids to ask the hub", fix)
        self._token = get_token() or ""
        if not self._token:
            raise ConfigError(f"--push {name}: expected a token of the hub, found none", _TOKEN)
        if not self._token.isascii() or not self._token.isprintable() or " " in self._token:
            raise ConfigError(f"--push {name}: the token of the hub holds characters that no token has", _TOKEN)
        self._api: HfApi = HfApi(token=self._token)

    def require_writer(self) -> None:
        """Refuse a token that the hub does not know, or of which it says that it may not write here.

        Raises:
            ConfigError: it is one.
            ServiceUnavailable: the hub does not answer.
        """
        with self._asked():
            refusal = token_scopes.refusal(self._api.whoami(), self.name)
        if refusal is not None:
            raise ConfigError(f"{self.address}: {refusal}", f"{_TOKEN} to it")

    def held(self, commit: str | None = None) -> Held | None:
        """What it holds at a commit, by default the newest; None where there is no such repository for the token.

        Raises:
            ConfigError, ServiceUnavailable: as `require_writer`.
        """
        from huggingface_hub.errors import HfHubHTTPError

        with self._asked():
            try:
                found = self._api.model_info(self.name, revision=commit, files_metadata=True)
            except HfHubHTTPError as error:
                if error.response.status_code == HTTPStatus.NOT_FOUND:
                    return None
                raise
            digests = {one.rfilename: _digest_of(one) for one in found.siblings or []}
            return Held(str(found.sha), bool(found.private), digests)

    def create(self, *, private: bool) -> bool:
        """Create it.

        Returns:
            Whether it was created; False where the hub has one of this name, which the token may be unable to see.

        Raises:
            ConfigError: the token may not.
            ServiceUnavailable: the hub does not answer.
        """
        from huggingface_hub.errors import HfHubHTTPError

        with self._asked():
            try:
                self._api.create_repo(self.name, private=private)
            except HfHubHTTPError as error:
                if error.response.status_code == HTTPStatus.CONFLICT:
                    return False
                raise
        return True

    def commit(self, folder: Path, files: Sequence[str], gone: Sequence[str], message: str, *, onto: str) -> str:
        """Commit files, all in one commit, and remove others.

        Args:
            folder: folder of the files.
            files: their paths in it, and in the repository.
            gone: paths of the files to remove.
            message: the commit's message.
            onto: the commit that is the newest.

        Returns:
            The new commit.

        Raises:
            TemporaryFailure: the repository has got another commit since.
            ConfigError: the token may not, or the hub refuses the model card.
            ServiceUnavailable: the hub does not answer.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete

        operations: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete] = [
            *(CommitOperationDelete(path) for path in gone),
            *(CommitOperationAdd(path, folder / path) for path in files),
        ]
        with self._asked(), _bars():
            made = self._api.create_commit(self.name, operations, commit_message=message, parent_commit=onto)
        return str(made.oid)

    @contextlib.contextmanager
    def _asked(self) -> Iterator[None]:
        """Turn what huggingface_hub raises within the block into errors of ours."""
        import httpx2
        from huggingface_hub import set_client_factory

        proxy = proxy_for(self.address)
        set_client_factory(functools.partial(_client, self.address, proxy))
        try:
            yield
        except PipelineError:
            raise
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, RuntimeError, LookupError, TypeError) as error:
            raise self._explained(error, proxy) from None  # its texts may hold the token
        except OSError as error:
            if error.errno is not None and error.filename is not None:  # a file here
                raise
            raise self._explained(error, proxy) from None

    def _explained(self, error: Exception, proxy: Proxy | None) -> PipelineError:
        from huggingface_hub.errors import HfHubHTTPError

        where = self.address if proxy is None else f"{self.address} ({proxy})"
        chain = list(causes(error))
        answered = next((one for one in chain if isinstance(one, HfHubHTTPError)), None)
        if str(error).startswith("Invalid metadata in README.md"):
            what = f"{where}: the hub refuses the model card: {self._without_token(' '.join(str(error).split()[4:]))}"
            return ConfigError(what, "correct --license, and export into a new folder")
        ours = next((one for one in chain if isinstance(one, PipelineError)), None)
        if ours is not None:
            return ours
        if answered is None:
            other = "" if isinstance(error, OSError) or _is_http(error) else "its answer is not one of the hub: "
            return ServiceUnavailable(f"{where}: {other}{self._without_token(reason(error))}", _AGAIN)
        status = answered.response.status_code
        said = self._without_token(answered.server_message or "")
        answer = f"{where}: answered {status} {answered.response.reason_phrase}{f': {said}' if said else ''}"
        if status in _CONFLICTS:
            return TemporaryFailure(answer, "run the same command again, which looks at the repository again")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT:
            return ServiceUnavailable(answer, _AGAIN)
        if status == HTTPStatus.UNAUTHORIZED:
            return ConfigError(answer, _TOKEN)
        owner = self.name.split("/", maxsplit=1)[0]
        return ConfigError(answer, f"{_TOKEN} to the repositories of {owner}, or name another repository")

    def _without_token(self, text: str) -> str:
        text = " ".join(text.replace(self._token, "***").split())
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _is_http(error: Exception) -> bool:
    import httpx2

    return any(isinstance(cause, httpx2.HTTPError | httpx2.InvalidURL) for cause in causes(error))


def is_of(file: Path, digest: str) -> bool:
    """Whether a file has the digest that a hub gives it: a SHA-256, or the SHA-1 of a Git blob."""
    if len(digest) == _SHA256_DIGITS:
        return sha256(file) == digest
    data = file.read_bytes()  # a file outside of LFS is small
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == digest


def _digest_of(found: Any) -> str:
    return str(found.lfs.sha256 if found.lfs is not None else found.blob_id)


def _client(url: str, proxy: Proxy | None) -> httpx2.Client:
    """huggingface_hub's own HTTP client, with time limits; errors as of `hub_client.client`."""
    import httpx2

    limits = httpx2.Timeout(connect=_CONNECT, write=_WRITE, read=_READ, pool=None)
    return hub_client.client(url, proxy, timeout=limits)


@contextlib.contextmanager
def _bars() -> Iterator[None]:
    """Show huggingface_hub's progress bars at a terminal alone."""
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    if sys.stderr.isatty():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
