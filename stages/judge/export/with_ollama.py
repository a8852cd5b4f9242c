"""A Modelfile, made into a model by the program ollama, and asked through its server."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.common.errors import ServiceUnavailable
from stages.judge.export.answers import Found
from stages.judge.export.taken import Row
from stages.judge.judges.address import ollama_url
from stages.judge.judges.deadline import Deadline
from stages.judge.judges.transport import Client, Fault

#: The longest time to make a model of a file, and for an answer (the first one loads the model), in seconds.
CREATE_SECONDS, ANSWER_SECONDS = 600.0, 300.0
_LOOK_UP_SECONDS = 10.0


class Ollama:
    """A model of a server at OLLAMA_HOST. The server keeps keys and values in fp16 unless it is told otherwise.

    Args:
        client: the connection.
        model: name of the model.
        version: version of the server.
    """

    def __init__(self, client: Client, model: str, version: str) -> None:
        self._client, self._model = client, model
        self.how = f"Ollama {version}, its Modelfile and /api/chat"

    def answer(self, row: Row) -> Found:
        """Answer a row's message; Ollama tells neither the prompt's ids nor whether its count has the end-of-text."""
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": row.content}],
            "stream": False,
            "options": {"num_predict": row.most},
        }
        reply = _asked(self._client, "POST", "/api/chat", body, ANSWER_SECONDS)
        try:
            text, reason = reply["message"]["content"], reply["done_reason"]
        except (KeyError, TypeError):
            raise ServiceUnavailable(f"{self._client.url}: its answer is not one of Ollama's /api/chat") from None
        return Found(text=str(text).strip(), tokens=None, ended=reason == "stop", same_prompt=True)


@contextlib.contextmanager
def opened(modelfile: Path, name: str | None = None) -> Iterator[Ollama]:
    """Make a model of a Modelfile for the length of the block, and remove it.

    Args:
        modelfile: the Modelfile.
        name: name of the model, which the server has not; None for one that nobody else takes.

    Raises:
        ServiceUnavailable: there is no program ollama or no server, or it does not take the Modelfile.
        ConfigError: OLLAMA_HOST is no address.
    """
    url = ollama_url()
    if shutil.which("ollama") is None:
        raise ServiceUnavailable("there is no program ollama here, which makes a model of a Modelfile")
    client = Client(url, connections=1)
    try:
        version = _asked(client, "GET", "/api/version", None, _LOOK_UP_SECONDS).get("version", "?")
        name = name or f"instruct-pipeline-export-{secrets.token_hex(4)}"
        _ollama(url, "create", name, "-f", str(modelfile))
        try:
            yield Ollama(client, name, str(version))
        finally:
            _ollama(url, "rm", name)
    finally:
        client.close()


def _asked(client: Client, method: str, path: str, body: Any, seconds: float) -> dict[str, Any]:
    try:
        reply = json.loads(client.call(method, path, body, Deadline(seconds)))
    except Fault as fault:
        raise ServiceUnavailable(f"Ollama at {client.url} does not answer: {fault}") from fault
    except ValueError:
        reply = None
    if not isinstance(reply, dict):
        raise ServiceUnavailable(f"{client.url}{path}: expected an object in JSON, as Ollama answers")
    return reply


def _ollama(url: str, *arguments: str) -> None:
    """Run the program ollama.

    Raises:
        ServiceUnavailable: it fails, or takes too long.
    """
    command = ["ollama", *arguments]
    environment = os.environ | {"OLLAMA_HOST": url}
    try:
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=CREATE_SECONDS)
    except subprocess.TimeoutExpired:
        what = f"ollama {arguments[0]}: no end within {CREATE_SECONDS:g} s"
        raise ServiceUnavailable(what) from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines()
        raise ServiceUnavailable(f"ollama {arguments[0]}: {said[-1] if said else error.returncode}") from None
