"""A loopback server that takes models as the Hugging Face hub does: what huggingface_hub 2.4 asks to push and to read.

    GET   /api/whoami-v2                         whose token it is
    GET   /api/models/{repo}[/revision/{sha}]    commit, visibility, files with their digests
    POST  /api/repos/create, /api/validate-yaml
    POST  /api/models/{repo}/preupload/main      which files go to LFS
    POST  /{repo}.git/info/lfs/objects/batch     where they go; PUT /lfs/{sha256}, POST /lfs/verify
    POST  /api/models/{repo}/commit/main         one commit, as lines of JSON
    GET, HEAD  /{repo}/resolve/{sha}/{file}      the files

Tokens: `WRITER` of the account ``ann`` may write to her repositories, `READER` may only read, `FINE` is
fine-grained, with `HubOfRepositories.scopes` as whoami tells them; any other is refused.
Faults are scripted by method and the end of the path, as in `tests.fake_hub`: a status, or "html", "cut" and "lost",
which stores a file with other bytes.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.quiet_server import QuietServer

ACCOUNT = "ann"
WRITER, READER, FINE = "hf_writer", "hf_reader", "hf_fine"
#: What a real hub puts into a new repository.
ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
LFS_ENDS = (".safetensors", ".bin")


def blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Repository:
    """A repository: its files at each commit, the newest last."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.head]

    def commit(self, files: dict[str, bytes], message: str) -> str:
        sha = hashlib.sha1(f"{len(self.commits)}{message}".encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.messages.append(message)
        return sha


class HubOfRepositories:
    """The server; `serving` starts and stops one.

    Attributes:
        endpoint: its address.
        repositories: repositories by OWNER/NAME.
        requests: method and path of every request, in order.
        stored: bytes that were uploaded to LFS, by SHA-256.
        scopes: what whoami says of the fine-grained token; None where it says nothing.
        hidden: names of repositories that no token here may see.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.stored: dict[str, bytes] = {}
        self.scopes: dict[str, Any] | None = None
        self.hidden: set[str] = set()
        self._faults: defaultdict[tuple[str, str], deque[str]] = defaultdict(deque)
        self.server = QuietServer(("127.0.0.1", 0), _handler(self))
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"

    def make(self, name: str, files: dict[str, bytes] | None = None, *, private: bool = True) -> Repository:
        made = self.repositories[name] = Repository(private)
        made.commit({".gitattributes": ATTRIBUTES, **(files or {})}, "initial commit")
        return made

    def script(self, method: str, end: str, *faults: str) -> None:
        self._faults[method, end].extend(faults)

    def next_fault(self, method: str, path: str) -> str | None:
        for (verb, end), queue in self._faults.items():
            if verb == method and path.endswith(end) and queue:
                return queue.popleft()
        return None


@contextlib.contextmanager
def serving() -> Iterator[HubOfRepositories]:
    hub = HubOfRepositories()
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()


class Refused(Exception):
    """A request that is answered with a status, the hub's error code and its words."""

    def __init__(self, status: int, words: str, code: str | None = None) -> None:
        self.status, self.words, self.code = status, words, code


def _handler(hub: HubOfRepositories) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        do_HEAD = do_POST = do_PUT = do_GET

        def _answer(self) -> None:
            path = self.path.split("?")[0]
            hub.requests.append(f"{self.command} {path}")
            data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if self.headers.get("Transfer-Encoding") == "chunked":
                data = self._chunks()
            fault = hub.next_fault(self.command, path)
            try:
                if fault == "cut":
                    self.close_connection = True
                elif fault == "html":
                    self._send(200, b"<html>log in to the network</html>", {"Content-Type": "text/html"})
                elif fault is not None and fault.isdigit():
                    raise Refused(int(fault), f"told {self.headers.get('Authorization')} so")
                else:
                    self._route(path, data, lost=fault == "lost")
            except Refused as refused:
                code = {"X-Error-Code": refused.code} if refused.code else {}
                self._json({"error": refused.words}, refused.status, code)

        def _chunks(self) -> bytes:
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data

        def _route(self, path: str, data: bytes, *, lost: bool) -> None:
            if path.startswith("/lfs/"):  # as a presigned address: no token
                assert "Authorization" not in self.headers or path == "/lfs/verify"
                if path != "/lfs/verify":
                    oid = path.removeprefix("/lfs/")
                    hub.stored[oid] = bytes(len(data)) if lost else data
                self._json({})
                return
            token = self._token()
            if path == "/api/whoami-v2":
                role = {WRITER: "write", READER: "read", FINE: "fineGrained"}[token]
                told = {"role": role} | ({"fineGrained": hub.scopes} if token == FINE and hub.scopes else {})
                self._json({"name": ACCOUNT, "orgs": [], "auth": {"accessToken": told}})
            elif path == "/api/repos/create":
                self._create(json.loads(data))
            elif path == "/api/validate-yaml":
                self._validate(json.loads(data)["content"])
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([0-9a-z]+))?", path):
                self._info(found[1], found[2])
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", path):
                self._writer(token)
                (self._preupload if found[2] == "preupload" else self._commit)(found[1], data)
            elif found := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
                self._writer(token)
                self._batch(json.loads(data))
            elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                self._resolve(self._repository(found[1]), found[2], found[3])
            else:
                raise Refused(404, f"no such page: {path}")

        def _token(self) -> str:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if token not in (WRITER, READER, FINE):
                raise Refused(401, "Invalid username or password.", "RepoNotFound")
            return token

        def _writer(self, token: str) -> None:
            if token == READER:
                raise Refused(403, "Forbidden: the token may only read")

        def _repository(self, name: str) -> Repository:
            if name not in hub.repositories:
                raise Refused(404, "Repository not found", "RepoNotFound")
            return hub.repositories[name]

        def _create(self, asked: dict[str, Any]) -> None:
            self._writer(self._token())
            owner = asked.get("organization") or ACCOUNT
            if owner != ACCOUNT:
                raise Refused(403, f'You don\'t have the rights to create a model under the namespace "{owner}"')
            name = f"{owner}/{asked['name']}"
            if name in hub.repositories or name in hub.hidden:
                raise Refused(409, "You already created this model repo")
            hub.make(name, private=asked.get("visibility") == "private")
            self._json({"url": f"{hub.endpoint}/{name}"})

        def _validate(self, content: str) -> None:
            licence = re.search(r'^license: "(.*)"$', content, re.MULTILINE)
            if licence and licence[1] not in ("apache-2.0", "mit", "other"):
                self._json({"errors": [{"message": '"license" must be one of [apache-2.0, mit, other]'}]}, 400)
            else:
                self._json({"errors": [], "warnings": []})

        def _info(self, name: str, sha: str | None) -> None:
            repository = self._repository(name)
            sha = repository.head if sha in (None, "main") else sha
            siblings = []
            for path, data in repository.commits[sha].items():
                one: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": blob(data)}
                if path.endswith(LFS_ENDS):
                    digest = hashlib.sha256(data).hexdigest()
                    one |= {"blobId": "0" * 40, "lfs": {"sha256": digest, "size": len(data), "pointerSize": 130}}
                siblings.append(one)
            self._json({"id": name, "sha": sha, "private": repository.private, "siblings": siblings})

        def _preupload(self, name: str, data: bytes) -> None:
            repository = self._repository(name)
            files = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].endswith(LFS_ENDS) else "regular",
                    "shouldIgnore": False,
                    "oid": blob(there) if (there := repository.files.get(one["path"])) is not None else None,
                }
                for one in json.loads(data)["files"]
            ]
            self._json({"files": files})

        def _batch(self, asked: dict[str, Any]) -> None:
            objects = []
            for one in asked["objects"]:
                if one["oid"] not in hub.stored:
                    verify = {"href": f"{hub.endpoint}/lfs/verify"}
                    one["actions"] = {"upload": {"href": f"{hub.endpoint}/lfs/{one['oid']}"}, "verify": verify}
                objects.append(one)
            self._json({"transfer": "basic", "objects": objects})

        def _commit(self, name: str, data: bytes) -> None:
            repository = self._repository(name)
            header, *lines = [json.loads(line) for line in data.splitlines()]
            if header["value"].get("parentCommit") not in (None, repository.head):
                raise Refused(412, "A commit has happened since. Please refresh and try again.")
            files = dict(repository.files)
            for line in lines:
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.stored[value["oid"]]
                elif line["key"] == "deletedFile":
                    del files[value["path"]]
            sha = repository.commit(files, header["value"]["summary"])
            self._json({"commitUrl": f"{hub.endpoint}/{name}/commit/{sha}", "commitOid": sha, "success": True})

        def _resolve(self, repository: Repository, revision: str, file: str) -> None:
            sha = repository.head if revision == "main" else revision
            if file not in repository.commits[sha]:
                raise Refused(404, "Entry not found", "EntryNotFound")
            data = repository.commits[sha][file]
            digest = hashlib.sha256(data).hexdigest() if file.endswith(LFS_ENDS) else blob(data)
            self._send(200, data, {"ETag": f'"{digest}"', "X-Repo-Commit": sha})

        def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
            self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

        def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the terminal quiet; `HubOfRepositories.requests` has them."""

    return Handler
