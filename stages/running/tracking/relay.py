"""What a stage tells of itself under a flow: it writes that to a file, and the flow sends it to its MLflow run.

The flow has loaded MLflow already, which takes two seconds; so the stage need not.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.common import appended
from stages.common.locks import locked_if_possible, open_locked
from stages.running import temporary
from stages.running.tracking import mlflow_access, mlflow_experiment, store
from stages.running.tracking.sending import Sending

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: The path of the file, for the stage.
VARIABLE = "PIPELINE_TRACKED"
#: Seconds that the end of a stage waits at most until MLflow has what it told: 20, or 15 where it has failed.
_CLOSE_SECONDS, _FAILURE_SECONDS = 20.0, 15.0

#: The name of a metric, its value, the time in milliseconds since 1970, and the optimiser step.
Point = tuple[str, float, int, int]


def append(path: Path, points: Sequence[Point] = (), tags: Mapping[str, str] | None = None) -> None:
    """Append a line of JSON with metrics and tags.

    Args:
        path: the file.
        points: metrics.
        tags: tags of the run.

    Raises:
        OSError: it cannot be written. No part of the line stays in the file.
    """
    line = json.dumps({"points": points, "tags": tags or {}}) + "\n"
    with open(path, "ab", buffering=0) as stream:
        appended.whole(stream.fileno(), line.encode())


def is_read(path: Path) -> bool:
    """Whether the flow is there that sends what is in the file."""
    with locked_if_possible(path) as ours:
        return ours is False


class Reader:
    """Reads what a stage appends.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self.points: list[Point] = []
        self.tags: dict[str, str] = {}

    def read(self) -> None:
        """Add what is new in the file to ``points`` and ``tags``; half a line is left for the next time."""
        with open(self._path, "rb") as stream:
            stream.seek(self._at)
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                self._at += len(line)
                told = json.loads(line)
                self.points += [(name, value, at, step) for name, value, at, step in told["points"]]
                self.tags |= told["tags"]

    def send(self, client: MlflowClient, run_id: str) -> None:
        """Send what was read to a run. What has arrived is forgotten; the rest is sent again the next time."""
        while batch := self.points[: store.METRICS_BATCH]:
            store.log_metrics(client, run_id, batch)
            del self.points[: len(batch)]
        store.set_tags(client, run_id, self.tags)
        self.tags.clear()


@contextlib.contextmanager
def relayed(run_id: str | None, tell: Callable[[str], object]) -> Iterator[dict[str, str]]:
    """Send to a run what the stage that is at work in the block tells of itself.

    Args:
        run_id: id of the flow's run; None: it has none.
        tell: function that is given lines, such as that MLflow does not answer.

    Yields:
        The environment variable by which the stage finds the file; nothing where its folder has no locks, so that the
        stage sends by itself.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(temporary.folder()) / "tracked.jsonl"
        descriptor = _locked(file) if run_id is not None else None
        if run_id is None or descriptor is None:
            yield {}
            return
        relay = _Relay(run_id, file)
        try:
            sending = Sending(relay.send, tell)
            seconds = _FAILURE_SECONDS
            try:
                yield {VARIABLE: str(file)}
                seconds = _CLOSE_SECONDS
            finally:
                sending.close(seconds)
        finally:
            relay.leave()
            os.close(descriptor)


def _locked(file: Path) -> int | None:
    """A descriptor of the file, whose lock says that it is read until this process ends."""
    try:
        return open_locked(file)
    except OSError:
        return None


#: The metrics and tags that an earlier stage has told and MLflow has not taken, by the id of their run.
_left: dict[str, tuple[list[Point], dict[str, str]]] = {}


class _Relay:
    def __init__(self, run_id: str, file: Path) -> None:
        self._run_id = run_id
        self._told = Reader(file)
        self._told.points, self._told.tags = _left.pop(run_id, ([], {}))
        self._client: MlflowClient | None = None
        self._failing = False

    def send(self, closing: bool) -> None:
        """Send what is new; where MLflow was gone, or at the end, into an experiment that is restored if need be."""
        self._told.read()
        if not self._told.points and not self._told.tags:
            return
        restoring, self._failing = self._failing or closing, True
        client = self._client or mlflow_access.client(Path())
        if restoring:
            mlflow_experiment.restore(client, self._run_id)
        self._told.send(client, self._run_id)
        self._client, self._failing = client, False

    def leave(self) -> None:
        """Leave what MLflow has not taken to the relay of the run's next stage."""
        if self._told.points or self._told.tags:
            _left[self._run_id] = (list(self._told.points), dict(self._told.tags))
