"""Requests to a Prefect server, as a test sends them."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

#: For how many seconds a busy server is waited for, and asked again.
_PATIENCE = 300


def request(address: str, path: str, body: Any = None, *, method: str = "") -> Any:
    """Send a request to the server's API, and return the answer.

    While its database is locked, the server answers 503. It is then asked again, as by Prefect's own client.

    Args:
        address: address of the API.
        path: path below it.
        body: what is sent, as JSON; None for nothing.
        method: method of the request; by default POST with a body, and GET without one.

    Raises:
        HTTPError: the server refuses the request.
    """
    data = None if body is None else json.dumps(body).encode()
    method = method or ("GET" if data is None else "POST")
    asked = urllib.request.Request(address + path, data, {"Content-Type": "application/json"}, method=method)
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with urllib.request.urlopen(asked, timeout=_PATIENCE) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > deadline:
                raise
            error.close()
            time.sleep(1)
