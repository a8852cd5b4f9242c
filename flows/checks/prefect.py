"""Whether the folder's Prefect server answers, knows the deployments, and has a worker that runs them.

That is the server of PREFECT_API_URL, or else that of `make ui`. It is asked over HTTP: Prefect itself takes seconds to
start.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from flows import prefect_server, servers_file
from stages.common.errors import ServiceUnavailable
from stages.running.checks.row import Row, ok, problem, warning

_FLOW = "instruct-pipeline"
_SECONDS = 5.0
_RUN, _DEPLOY = "python -m flows prefect", "make deploy"


def prefect() -> Iterator[Row]:
    """The server, its work pools and workers, the deployments with their schedules, and the automations."""
    address = prefect_server.configured() or servers_file.environment().get("PREFECT_API_URL")
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
        yield from _registered(address)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        yield warning("Prefect", f"the server does not say what it has: {reason}", "make ui shows its pages")


def _registered(address: str) -> Iterator[Row]:
    """What `make deploy` registers."""
    found = _ask(address, "deployments/filter", {"flows": {"name": {"any_": [_FLOW]}}})
    if not found:
        yield warning("Prefect deployment", "none: no form and no schedule", _DEPLOY)
        return
    for pool in sorted({str(one["work_pool_name"]) for one in found if one.get("work_pool_name")}):
        yield from _pool(address, pool)
    for one in found:
        yield _schedule(address, one)
    yield from _automations(address)


def _schedule(address: str, deployment: dict[str, Any]) -> Row:
    name, schedules = f"{_FLOW}/{deployment['name']}", deployment.get("schedules") or []
    active = [schedule for schedule in schedules if schedule["active"]]
    if deployment.get("paused"):
        # Prefect 3.8 has no command for it.
        resume = f"curl -X POST {address}/deployments/{deployment['id']}/resume_deployment, or its switch on its page"
        return warning("Prefect schedule", f"{name}: paused: nothing starts by itself", resume)
    if schedules and not active:
        # As `make deploy` leaves it the first time: not everybody wants one.
        resume = f"{_RUN} deployment schedule resume {name} {schedules[0]['id']}"
        return ok("Prefect schedule", f"{name}: off, as at first; to switch it on:\n{resume}")
    return ok("Prefect schedule", f"{name}: {f'{len(active)} active' if active else 'none, started by hand'}")


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
    """Those that `make deploy` registers, which are named by the flow."""
    named = {str(one["name"]): bool(one.get("enabled")) for one in _ask(address, "automations/filter", {})}
    ours = {name: enabled for name, enabled in named.items() if name.startswith(f"{_FLOW}: ")}
    off = [name for name, enabled in ours.items() if not enabled]
    if not ours:
        yield warning("Prefect automations", "none of ours: a run that is killed stays Running for ever", _DEPLOY)
    if off:
        resume = "; ".join(f"{_RUN} automation resume {shlex.quote(name)}" for name in off)
        yield warning("Prefect automations", f"switched off: {', '.join(off)}", resume)
    if on := [name for name, enabled in ours.items() if enabled]:
        yield ok("Prefect automations", ", ".join(on))


def _ask(address: str, path: str, body: Any = None) -> Any:
    """What the server answers to a request of its REST API."""
    request = urllib.request.Request(  # noqa: S310 - the user's own server
        f"{address.rstrip('/')}/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    for name, value in _login().items():
        request.add_unredirected_header(name, value)
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
        return json.load(answer)


def _login() -> dict[str, str]:
    """What Prefect's client logs in with; `prefect_server.check` has seen that it may go there."""
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if user := os.environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}
    return {}
