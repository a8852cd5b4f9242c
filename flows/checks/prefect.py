"""Whether the folder's Prefect server answers, knows the deployments, and has a worker that runs them.

That is the server of PREFECT_API_URL, or else that of `make ui`. It is asked over HTTP: Prefect itself takes seconds to
start.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from flows import prefect_server, servers_file
from stages.common.errors import ServiceUnavailable
from stages.running.checks.row import Row, ok, problem, warning

_FLOW = "instruct-pipeline"
_SECONDS = 5.0
_RUN = "python -m flows prefect"


def prefect() -> Iterator[Row]:
    """The server, its work pools and workers, the deployments with their schedules, and the automations."""
    address = {**os.environ, **servers_file.environment()}.get("PREFECT_API_URL")
    if not address:
        yield ok("Prefect", "no make ui and no PREFECT_API_URL: each run has a temporary server, without schedules")
        return
    try:
        prefect_server.check()
    except ServiceUnavailable as error:
        yield problem("Prefect", error)
        return
    yield ok("Prefect", f"the server at {address} answers")
    try:
        yield from _deployments(address)
        yield from _automations(address)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        yield warning("Prefect", f"the server does not say what it has: {reason}", "make ui shows its pages")


def _deployments(address: str) -> Iterator[Row]:
    of_flow = {"flows": {"name": {"any_": [_FLOW]}}}
    found = _ask(address, "deployments/filter", of_flow)
    if not found:
        yield warning("Prefect deployment", "none: no form and no schedule", "make deploy")
        return
    for pool in sorted({str(one["work_pool_name"]) for one in found if one.get("work_pool_name")}):
        yield from _pool(address, pool)
    for one in found:
        name, schedules = f"{_FLOW}/{one['name']}", one.get("schedules") or []
        active = [schedule for schedule in schedules if schedule["active"]]
        if one.get("paused") or (schedules and not active):
            resume = f"{_RUN} deployment schedule resume {name} {schedules[0]['id'] if schedules else ''}".rstrip()
            if one.get("paused"):
                resume = f"{_RUN} deployment resume {name}"
            yield warning("Prefect schedule", f"{name}: paused: nothing starts by itself", resume)
        else:
            yield ok("Prefect schedule", f"{name}: {f'{len(active)} active' if active else 'none, started by hand'}")


def _pool(address: str, name: str) -> Iterator[Row]:
    pool = _ask(address, f"work_pools/{name}")
    if pool.get("is_paused"):
        yield warning("Prefect worker", f"the work pool {name} is paused", f"{_RUN} work-pool resume {name}")
    workers = _ask(address, f"work_pools/{name}/workers/filter", {})
    online = [worker["name"] for worker in workers if worker.get("status") == "ONLINE"]
    if online:
        yield ok("Prefect worker", f"{', '.join(online)} in the work pool {name}")
    else:
        yield warning(
            "Prefect worker", f"none in the work pool {name}: nothing runs", f"{_RUN} worker start --pool {name}"
        )


def _automations(address: str) -> Iterator[Row]:
    found = _ask(address, "automations/filter", {})
    disabled = [str(one["name"]) for one in found if not one.get("enabled")]
    if disabled:
        yield warning("Prefect automations", f"switched off: {', '.join(disabled)}", f"{_RUN} automation resume NAME")
    yield ok("Prefect automations", ", ".join(str(one["name"]) for one in found if one.get("enabled")) or "none")


def _ask(address: str, path: str, body: Any = None) -> Any:
    """What the server answers to a request of its REST API."""
    request = urllib.request.Request(  # noqa: S310 - the user's own server
        f"{address.rstrip('/')}/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
        return json.load(answer)
