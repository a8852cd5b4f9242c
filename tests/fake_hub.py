"""A loopback server with the Hugging Face hub's URL layout, for tests and for runs without the hub.

    python -m tests.fake_hub --folder DIR --repo openai-community/gpt2-medium --revision SHA --port 0

prints its address, to be used as HF_ENDPOINT, and serves every file in DIR as

    HEAD, GET  /{repo}/resolve/{revision}/{file}

with ETag, X-Repo-Commit, Content-Length and Range, as huggingface_hub asks for them (file_download.py,
get_hf_file_metadata). Errors carry the hub's X-Error-Code. Files are streamed, so their size does not matter.

Faults are scripted per method and file: `FakeHub.script("GET", "config.json", "500", "500")` makes the next two such
requests fail. A file need not exist for a fault to come first. The repository of a dataset is datasets/OWNER/NAME. It
also serves as a plain web server for `fetch`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import signal
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.quiet_server import QuietServer

CHUNK = 1 << 20

#: Status and X-Error-Code of the faults that are an answer of the hub.
ANSWERS = {
    "no entry": (404, "EntryNotFound"),
    "no revision": (404, "RevisionNotFound"),
    "no repository": (404, "RepoNotFound"),
    "401": (401, "RepoNotFound"),
    "403": (403, "GatedRepo"),
    "404": (404, None),
    "429": (429, None),
    "500": (500, None),
    "503": (503, None),
}
#: The rest: half of the bytes, then the connection ends; the right number of bytes, all zero; a redirect to itself;
#: the file, or a header before it, a byte at a time.
FAULTS = (*ANSWERS, "cut", "wrong bytes", "redirect", "drip", "drip headers")
#: Seconds between two bytes of a drip.
DRIP = 0.2


class FakeHub:
    """The server; `serving` starts and stops one.

    Attributes:
        endpoint: its address, such as http://127.0.0.1:40123.
        requests: (method, file, Range header) of every request, in order.
    """

    def __init__(self, folder: Path, repo: str, revision: str, port: int = 0) -> None:
        self.folder = folder
        self.repo = repo
        self.revision = revision
        self.requests: list[tuple[str, str, str | None]] = []
        self._faults: defaultdict[tuple[str, str], deque[str]] = defaultdict(deque)
        self._etags: dict[Path, str] = {}
        self.server = QuietServer(("127.0.0.1", port), _handler(self))
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"

    def script(self, method: str, file: str, *faults: str) -> None:
        """Let the next requests for a file fail, one fault each."""
        assert set(faults) <= set(FAULTS), faults
        self._faults[method, file].extend(faults)

    def url(self, file: str) -> str:
        """The address of a file."""
        return f"{self.endpoint}/{self.repo}/resolve/{self.revision}/{file}"

    def next_fault(self, method: str, file: str) -> str | None:
        """The fault for this request, if one is scripted."""
        queue = self._faults[method, file]
        return queue.popleft() if queue else None

    def etag(self, path: Path) -> str:
        """A file's ETag: its SHA-256 for weights, which the hub keeps in LFS, else its git blob's SHA-1."""
        if path not in self._etags:
            with open(path, "rb") as stream:
                if path.suffix == ".safetensors":
                    self._etags[path] = hashlib.file_digest(stream, "sha256").hexdigest()
                else:
                    data = stream.read()
                    self._etags[path] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        return self._etags[path]


@contextlib.contextmanager
def serving(folder: Path, repo: str = "openai-community/gpt2", revision: str = "a" * 40) -> Iterator[FakeHub]:
    """Serve a folder on a free port for as long as the block lasts."""
    hub = FakeHub(folder, repo, revision)
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # the client has gone, as one does that was killed
                super().handle()

        def do_HEAD(self) -> None:
            self._serve(body=False)

        def do_GET(self) -> None:
            self._serve(body=True)

        def _list(self) -> None:
            """The files of the repository, as the hub's API lists them."""
            hub.requests.append((self.command, "list", None))
            paths = sorted(path for path in hub.folder.rglob("*") if path.is_file())
            names = (path.relative_to(hub.folder).as_posix() for path in paths)
            found = [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in names]
            body = json.dumps(found).encode()
            self._answer(200, {"Content-Length": str(len(body)), "Content-Type": "application/json"})
            self.wfile.write(body)

        def _serve(self, *, body: bool) -> None:
            if self.path.startswith(f"/api/{hub.repo}/tree/{hub.revision}"):
                self._list()
                return
            beginning = f"/{hub.repo}/resolve/{hub.revision}/"
            within = self.path.startswith(beginning)
            file = self.path.removeprefix(beginning) if within else self.path.rsplit("/", 1)[-1]
            hub.requests.append((self.command, file, self.headers.get("Range")))
            fault = hub.next_fault(self.command, file) or self._wrong_address(file)
            if fault in ANSWERS:
                status, code = ANSWERS[fault]
                self._answer(status, {"Content-Length": "0", **({"X-Error-Code": code} if code else {})})
            elif fault == "redirect":
                self._answer(302, {"Content-Length": "0", "Location": self.path})
            elif fault == "drip headers":
                self._drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"z" * 10_000)
            else:
                self._send(hub.folder / file, body, fault)

        def _wrong_address(self, file: str) -> str | None:
            if not self.path.startswith(f"/{hub.repo}/resolve/"):
                return "no repository"
            if self.path != f"/{hub.repo}/resolve/{hub.revision}/{file}":
                return "no revision"
            return None if (hub.folder / file).is_file() else "no entry"

        def _send(self, path: Path, body: bool, fault: str | None) -> None:
            size = path.stat().st_size
            start = self._range_start()
            if start >= size > 0:
                self._answer(416, {"Content-Length": "0", "Content-Range": f"bytes */{size}"})
                return
            headers = {"Content-Length": str(size - start), "ETag": f'"{hub.etag(path)}"', "Accept-Ranges": "bytes"}
            if path.suffix == ".safetensors":
                headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(size)}
            if start:
                headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            self._answer(206 if start else 200, headers)
            if body:
                if fault == "drip":
                    self._drip(path.read_bytes()[start:])
                    return
                end = (start + size) // 2 if fault == "cut" else size
                self._stream(path, start, end, zeros=fault == "wrong bytes")
                self.close_connection = fault == "cut"

        def _drip(self, data: bytes) -> None:
            self.close_connection = True
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client has had enough
                for byte in data:
                    self.wfile.write(bytes([byte]))
                    time.sleep(DRIP)

        def _stream(self, path: Path, start: int, end: int, *, zeros: bool) -> None:
            with open(path, "rb") as stream:
                stream.seek(start)
                left = end - start
                while left > 0:
                    chunk = stream.read(min(CHUNK, left))
                    self.wfile.write(bytes(len(chunk)) if zeros else chunk)
                    left -= len(chunk)

        def _range_start(self) -> int:
            asked = self.headers.get("Range", "bytes=0-")
            return int(asked.removeprefix("bytes=").split("-")[0])

        def _answer(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in ({"X-Repo-Commit": hub.revision} | headers).items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the terminal quiet; `FakeHub.requests` has them."""

    return Handler


def main() -> None:
    """Serve a folder until the process is ended."""
    parser = argparse.ArgumentParser(description="A loopback server with the Hugging Face hub's URL layout.")
    parser.add_argument("--folder", type=Path, required=True, help="holds model.safetensors and config.json")
    parser.add_argument("--repo", default="openai-community/gpt2-medium")
    parser.add_argument("--revision", required=True, help="the commit under which the files are served")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--fault",
        nargs=3,
        action="append",
        default=[],
        metavar=("METHOD", "FILE", "FAULT"),
        help=f"let the next such request fail: {', '.join(FAULTS)}",
    )
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job does not have
    hub = FakeHub(options.folder, options.repo, options.revision, options.port)
    for method, file, fault in options.fault:
        hub.script(method, file, fault)
    print(hub.endpoint, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        hub.server.serve_forever()


if __name__ == "__main__":
    main()
