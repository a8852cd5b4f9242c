"""One file copied from a path or downloaded over HTTP: whole and with the right SHA-256, or not at all."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests
import requests.adapters
from urllib3.exceptions import HTTPError, ProxySchemeUnknown

from stages.common import secrecy
from stages.common.errors import ConfigError, DataError, ServiceUnavailable
from stages.common.files import atomic_file
from stages.common.paths import local_path
from stages.common.plurals import counted
from stages.common.reasons import reason
from stages.download.contents import refuse_other_contents
from stages.download.pace import Pace, TooSlow, measured
from stages.running.console import say
from stages.running.proxies import Proxy, proxy_for

#: Seconds to wait before each further attempt; half of it is random, so that clients do not all retry at once.
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
#: The longest wait that a server may ask for, in seconds (its Retry-After header).
LONGEST_WAIT = 60.0
#: Seconds to connect, and seconds without a byte.
TIMEOUT = (10.0, 30.0)
#: The largest file in bytes. No real one comes near it; a server that never stops sending would fill the disk.
LARGEST = 1 << 30

_CHUNK = 1 << 20
_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}

#: What the libraries raise for a proxy's address that is none.
_OF_PROXY = (requests.exceptions.InvalidProxyURL, ProxySchemeUnknown)


class _Guarded(requests.adapters.HTTPAdapter):
    """Sends no password, such as one of ~/.netrc, unencrypted to another machine; it sees every redirect too."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        """Send a request.

        Raises:
            ConfigError: its password could be read on the way.
        """
        if "Authorization" in request.headers:
            fix = f"set {self._key} to an https:// address, or take the host out of ~/.netrc"
            secrecy.require(request.url or "", "the password of ~/.netrc", named_by=self._key, fix=fix)
        return super().send(request, *arguments, **options)


class _Transient(Exception):
    """An attempt failed, and another one may succeed. ``wait``: seconds to wait that the server asks for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def is_url(source: str, key: str) -> bool:
    """Whether a source is an http(s) URL; otherwise it is a path.

    Args:
        source: a path or a URL.
        key: key in params.yaml that names it.

    Raises:
        ConfigError: a URL of another kind.
    """
    scheme, separator, _ = source.partition("://")
    if separator and scheme.lower() not in ("http", "https"):
        raise ConfigError(f"{key}: expected a path or an http(s) URL, found {source!r}", f"set {key} in params.yaml")
    return bool(separator)


def fetch(source: str, target: Path, sha256: str | None, *, key: str, fix: str, waits: Sequence[float] = WAITS) -> None:
    """Copy or download one file.

    Args:
        source: a path, or an http(s) URL.
        target: path of the copy; it stays as it was if anything goes wrong.
        sha256: expected SHA-256 of the file; None: any, because DVC watches the file.
        key: key in params.yaml that names the source, for messages.
        fix: what the user can do about a wrong SHA-256.
        waits: seconds before each retry; their number is the number of retries.

    Raises:
        DataError: not the file that was expected, or an empty file, a web page or a Git LFS pointer.
        ServiceUnavailable: the server has sent the file at no attempt.
        ConfigError: there is no such file or page, or the URL is malformed.
    """
    if not is_url(source, key):
        _write(_read(local_path(source), key), target, sha256, source=source, key=key, fix=fix)
        return
    proxy = proxy_for(source)
    for wait in (*waits, None):
        try:
            with measured(source) as pace:
                _write(_download(source, key, proxy, pace), target, sha256, source=source, key=key, fix=fix)
        except (_Transient, TooSlow) as failure:
            if wait is None:
                through = f", {proxy}" if proxy else ""
                raise ServiceUnavailable(
                    f"{source}: {failure} ({counted(len(waits) + 1, 'attempt')}{through})",
                    "check the network" + (f", {proxy.fix}" if proxy else "") + " and run the same command again, "
                    f"or set {key} in params.yaml to a local copy",
                ) from failure
            asked = min(failure.wait, LONGEST_WAIT) if isinstance(failure, _Transient) else 0.0
            seconds = max(asked, wait * random.uniform(0.5, 1.0))  # noqa: S311 no secret
            say(f"{source}: {failure}; asking again")
            time.sleep(seconds)
        else:
            return


def check_file(path: Path, key: str) -> None:
    """Raise a ConfigError unless there is a file at ``path``, which ``key`` in params.yaml names."""
    if not path.exists():
        raise ConfigError(f"{path}: no such file", f"set {key} in params.yaml to a file that exists")
    if path.is_dir():
        raise ConfigError(f"{path}: expected a file, found a folder", f"set {key} in params.yaml to a file")


def _write(chunks: Iterable[bytes], target: Path, sha256: str | None, *, source: str, key: str, fix: str) -> None:
    digest = hashlib.sha256()
    size = 0
    with atomic_file(target, "wb") as stream:
        for chunk in chunks:
            size += len(chunk)
            if size > LARGEST:
                raise DataError(f"{source}: larger than {LARGEST:,} bytes, the most that is fetched", fix)
            digest.update(chunk)
            stream.write(chunk)
        stream.flush()
        refuse_other_contents(Path(stream.name), name=source, fix=f"correct {key} in params.yaml")
        if sha256 is not None and digest.hexdigest() != sha256:
            raise DataError(wrong_sha256(source, sha256, digest.hexdigest(), size), fix)


def wrong_sha256(source: str, expected: str, found: str, size: int) -> str:
    """What is said of a file with another SHA-256.

    Args:
        source: the file, as params.yaml names it.
        expected: the SHA-256 of params.yaml.
        found: that of the file.
        size: its size in bytes.
    """
    return f"{source}: wrong SHA-256: expected {expected}, found {found} ({counted(size, 'byte')})"


def _read(path: Path, key: str) -> Iterator[bytes]:
    check_file(path, key)
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _download(url: str, key: str, proxy: Proxy | None, pace: Pace) -> Iterator[bytes]:
    """Yield a page's bytes. A connection that ends before Content-Length bytes have come is an error (urllib3)."""
    fix = f"correct {key} in params.yaml"
    try:
        pace.asked()
        headers = {"Accept-Encoding": "identity"}
        with (
            guarded_session(key) as session,
            session.get(url, stream=True, timeout=TIMEOUT, headers=headers) as response,
        ):
            _check_status(response, url, fix, proxy)
            length = response.headers.get("Content-Length", "")
            pace.answered(int(length) if length.isascii() and length.isdigit() else None)
            # read1 gives what has come; iter_content would wait for a whole chunk, for days from a slow server.
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                pace.received(len(chunk))
                yield chunk
    except requests.TooManyRedirects as error:
        raise ConfigError(f"{url}: too many redirects", fix) from error
    except ValueError as error:  # requests' InvalidURL and InvalidSchema, and urllib3's own that it lets through
        cause = error.__context__ or error  # requests raises InvalidURL for what urllib3 says of a proxy
        if proxy is not None and (proxy.is_socks or isinstance(cause, _OF_PROXY)):
            raise proxy.unusable(url, "PySocks") from error
        raise ConfigError(f"{url}: not a valid URL", fix) from error
    except (requests.RequestException, HTTPError) as error:
        raise _Transient(reason(error)) from error
    finally:
        pace.complete()


def guarded_session(key: str) -> requests.Session:
    """A session that sends no password, such as one of ~/.netrc, unencrypted to another machine.

    Args:
        key: key of params.yaml that names the address, for the ConfigError that a request then raises.
    """
    session = requests.Session()
    session.mount("http://", _Guarded(key))
    return session


def _check_status(response: requests.Response, url: str, fix: str, proxy: Proxy | None) -> None:
    status = response.status_code
    if status == HTTPStatus.OK:
        return
    answer = f"answered {status} {response.reason}".rstrip()
    if status in _TRANSIENT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        asked = response.headers.get("Retry-After", "")
        raise _Transient(answer, float(asked) if asked.isascii() and asked.isdigit() else 0.0)
    if proxy is not None:
        raise ConfigError(f"{url}: {answer} ({proxy})", f"{fix}; or {proxy.fix}")
    raise ConfigError(f"{url}: {answer}", fix)
