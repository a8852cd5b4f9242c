"""What a stage logs to while it works. A thread sends it to MLflow, so that a slow server delays no training."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from stages.common import paths
from stages.common.errors import ConfigError
from stages.params import whole
from stages.running import gpu, held, orphans, report
from stages.running.console import say
from stages.running.tracking import (
    additions,
    database,
    execution,
    mirror,
    mlflow_access,
    mlflow_experiment,
    names,
    registry,
    relay,
    store,
    system_metrics,
)
from stages.running.tracking.mlflow_access import PUBLISH_SECONDS
from stages.running.tracking.relay import Point
from stages.running.tracking.sending import Sending
from stages.running.tracking.store import StageEnd

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: The id of the run that the flow owns, or NO_RUN where the flow could not open one.
RUN_ID_VARIABLE = "PIPELINE_MLFLOW_RUN_ID"
NO_RUN = "none"

#: The stages during which the machine is sampled.
_SAMPLED = frozenset({"finetune"})
#: Seconds that the end of the block waits at most: to send the last metrics, and in a stage that is being stopped,
#: whose user is waiting.
CLOSE_SECONDS = 20.0
FAILURE_SECONDS = 15.0
#: The same until a run is made in a new sqlite file, whose tables take seconds, and minutes on a busy machine.
CREATE_SECONDS = 180.0
#: The same where the dvc of the stage was killed: nobody waits, and the run may not be made yet.
ORPHAN_SECONDS = 60.0


class StageRun:
    """A stage's side of the run. No method raises, and only `close` waits.

    Args:
        stage: the stage's name.
    """

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._pending: list[Point] = []
        self._lock = threading.Lock()
        self._how: StageEnd = "ran"
        self._why = ""
        self._publishing = False
        self._at_end = contextlib.ExitStack()
        self._report: report.Making | None = None
        self._reported = False
        #: Whether the results have been compared with those of the last commit when the block ends.
        self.compared = False
        self._client: MlflowClient | None = None
        self._run_id = ""
        self._params: whole.Params | None = None
        self._sending: Sending | None = None
        self._sampler: system_metrics.Sampler | None = None
        self._flow_run_id = os.environ.get(RUN_ID_VARIABLE, "")
        # Where the flow reads what is told here; None: it is sent from here.
        self._file = Path(os.environ[relay.VARIABLE]) if relay.VARIABLE in os.environ else None
        # A flow publishes what its stages leave in files: one that sends nothing needs no MLflow, which loads slowly.
        self._may_begin = self._flow_run_id != NO_RUN
        if not self._flow_run_id:
            self._begin()

    def _begin(self) -> None:
        """Start what sends to MLflow, which is loaded unless the flow sends it."""
        self._may_begin = False
        try:
            # Not in the thread: MLflow takes seconds to load, in which params.yaml may be edited.
            self._params = None if self._flow_run_id else store.params_of(execution.current(), Path())
            if self._file is None:
                mlflow_access.load()
        except Exception as error:
            mlflow_access.warn(error)
            return
        if self._stage in _SAMPLED and system_metrics.wanted():
            try:
                self._sampler = system_metrics.Sampler()
            except ConfigError as error:
                say(f"tracking: no system metrics: {error.what}; to fix it: {error.fix}")
        self._sending = Sending(self._send)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Add values to the next batch.

        Args:
            metrics: values by name, such as ``{"loss/train": 1.2}``.
            step: optimiser step of the values.
        """
        now = time.time_ns() // 1_000_000
        if self._may_begin:
            self._begin()
        if self._sending is not None:
            with self._lock:
                self._pending += [(name, float(value), now, step) for name, value in metrics.items()]

    @property
    def under_flow(self) -> bool:
        """Whether a flow runs the stages; it prints and publishes the results at its end."""
        return RUN_ID_VARIABLE in os.environ

    def publish(self) -> None:
        """Mirror all files into the run at the end of the block. Under a flow it does nothing: the flow does that."""
        self._publishing = not self._flow_run_id

    def begin_report(self) -> None:
        """Begin the program that makes the report when the results are published: it takes two seconds to load."""
        if not self._flow_run_id:
            self._report = self._at_end.enter_context(report.begun(Path(), compares=True))

    def close(self, how: StageEnd, why: str = "") -> None:
        """Send what is left and, if this process owns the run, end the run; waits for a bounded time.

        Args:
            how: how the stage has ended.
            why: what broke it off.
        """
        self._how, self._why = how, why
        if how != "ran" and self._may_begin:
            self._begin()  # the run is to have how the stage ended
        with self._at_end:
            self._send_last(how)
            if self._publishing and how == "ran" and not self._reported and not held.changed():
                with self._making_report(""):  # MLflow has no run, or does not answer
                    pass

    def _send_last(self, how: StageEnd) -> None:
        if self._sending is not None:
            failure = ORPHAN_SECONDS if orphans.reason() else FAILURE_SECONDS
            seconds = failure if how != "ran" else PUBLISH_SECONDS if self._publishing else CLOSE_SECONDS
            if how == "ran" and not self._run_id and database.path_of(mlflow_access.uri()) is not None:
                seconds = max(seconds, CREATE_SECONDS)  # it is being made, on this machine, which is busy
            self._sending.close(seconds)

    def _send(self, closing: bool) -> None:
        self._take_sample(last=closing)
        if self._file is not None:
            if relay.is_read(self._file):
                self._tell(self._file, closing=closing)
                return
            self._take_back(self._file)
        client = self._connect(closing=closing)
        self._flush(client)
        if closing:
            self._finish(client)

    def _tell(self, file: Path, *, closing: bool) -> None:
        """Let the flow send what there is."""
        with self._lock:
            relay.append(file, self._pending, self._tags() if closing else {})
            self._pending.clear()

    def _take_back(self, file: Path) -> None:
        """Take back what the flow may not have sent, as it was killed. What it has sent changes nothing once more."""
        told = relay.Reader(file)
        with contextlib.suppress(FileNotFoundError):
            told.read()
        with self._lock:
            self._pending[:0] = told.points
        self._file = None

    def _take_sample(self, *, last: bool) -> None:
        """Add a sample of the machine to the next batch, if one is due."""
        if self._sampler is None:
            return
        with contextlib.suppress(psutil.Error, OSError), self._lock:
            self._pending += self._sampler.due(last=last)

    def _connect(self, *, closing: bool) -> MlflowClient:
        if self._client is None:
            mlflow_access.load()
        client = self._client or mlflow_access.client(Path())
        if self._run_id and (closing or (self._sending is not None and self._sending.warned)):
            mlflow_experiment.restore(client, self._run_id)
        if not self._run_id:
            self._run_id = self._flow_run_id or self._find_or_create(client)
        self._client = client
        return client

    def _find_or_create(self, client: MlflowClient) -> str:
        assert self._params is not None
        return store.find_or_create(client, execution.current(), Path(), self._params)

    def _flush(self, client: MlflowClient) -> None:
        while True:
            with self._lock:
                batch = self._pending[: store.METRICS_BATCH]
            if not batch:
                return
            store.log_metrics(client, self._run_id, batch)
            # Dropped only once it has arrived: a batch that fails is sent again.
            with self._lock:
                del self._pending[: len(batch)]

    def _finish(self, client: MlflowClient) -> None:
        try:
            store.set_tags(client, self._run_id, self._tags())
            # What was made with other values than this run has is refused when the stage ends.
            if self._publishing and self._how == "ran" and not held.changed():
                ran = {self._stage} | execution.marked(execution.current())
                self._mirror(client, ran)
                store.log_machine(client, self._run_id)
                registry.register(client, self._run_id, Path(), ran)
        finally:
            if not self._flow_run_id:
                store.close(client, self._run_id, f"{self._stage}: {self._why}" if self._why else "")

    def _mirror(self, client: MlflowClient, ran: Collection[str]) -> None:
        """Mirror all files into the run, with the report and the comparisons that it makes meanwhile."""
        with self._making_report(self._name(client)) as making:
            in_place = paths.ROOT_VARIABLE not in os.environ  # which a stage in a copy has
            mirror.publish(
                client,
                self._run_id,
                ran,
                Path(),
                lock_is_final=False,
                reports=[making.made],
                made_here=in_place,
            )
            if (made := making.comparisons()) is not None:
                additions.add_comparisons(self._run_id, [Path(file) for file in made.files], made.lines)

    @contextlib.contextmanager
    def _making_report(self, name: str) -> Iterator[report.Making]:
        """Make the report; it is there when the block ends, whatever becomes of that.

        Args:
            name: short name of the run in MLflow; empty where there is none.
        """
        self._reported = True
        with contextlib.ExitStack() as stack:
            making = self._report or stack.enter_context(report.begun(Path(), compares=True))
            making.go(made_here=True, run=name)
            try:
                yield making
            finally:
                making.made()
                made = making.comparisons()
                self.compared = made is not None and made.commit_tried

    def _name(self, client: MlflowClient) -> str:
        """The short name of the run; empty where MLflow does not say."""
        with contextlib.suppress(Exception):  # what is wrong is told when the results are sent
            return names.short_of(str(client.get_run(self._run_id).info.run_name or ""))
        return ""

    def _tags(self) -> dict[str, str]:
        """Tags of the run that say how the stage has ended, unless the flow does, and on which GPUs it ran."""
        cards = gpu.last_lease()
        ended = {f"stage.{self._stage}": str(self._how)} if self._how != "ran" or not self._flow_run_id else {}
        return ({"gpu.uuid": ",".join(cards)} if cards else {}) | ended
