"""The automations of the flow on a Prefect server: runs whose process is gone are marked, and somebody is told.

A flow reports every 30 seconds that it is alive (PREFECT_FLOWS_HEARTBEAT_FREQUENCY in `flows.tool_settings`). Where the
reports stop, its process was killed with everything that could have told the server so. Without these automations the
run would be Running, or Pending, for ever, and would count against the limit of its work queue.

No run that is over is touched: Prefect's server refuses to make a Crashed run of one that has ended. So where an event
is late, as in PrefectHQ/prefect#20887, nothing changes, and nobody is told: that is done by the state that a run has
really taken, not by the automation that marks it.
"""

from __future__ import annotations

import os
from datetime import timedelta

from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from stages.common.errors import ConfigError

#: Seconds without a sign of life after which a run is Crashed: six reports.
SILENT_SECONDS = 180
#: Seconds after which a run that a worker has taken, and that has not begun, is Crashed. The first report that it is
#: alive counts as its beginning: the server may keep back the event of the beginning itself for 15 minutes.
NOT_BEGUN_SECONDS = 600

#: The variable that names the address that is told of failed runs.
WEBHOOK = "PIPELINE_WEBHOOK"
_BLOCK = "instruct-pipeline"

_ENDED = tuple(f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Cancelled", "Crashed", "TimedOut"))
_ALIVE = "prefect.flow-run.heartbeat"
_PREFIX = "instruct-pipeline: "


def register(
    client: SyncPrefectClient, flow: str, *, silent: int = SILENT_SECONDS, not_begun: int = NOT_BEGUN_SECONDS
) -> list[str]:
    """Create the automations, or put them into the form that they have here; a second time changes nothing.

    One that somebody has switched off stays off.

    Args:
        client: client of the server.
        flow: name of the flow whose runs they watch.
        silent: seconds without a sign of life after which a run is Crashed.
        not_begun: seconds that a run may be Pending.

    Returns:
        Their names.

    Raises:
        ConfigError: PIPELINE_WEBHOOK is not an http(s) address.
    """
    wanted = [_silent(flow, silent), _not_begun(flow, not_begun)]
    if address := os.environ.get(WEBHOOK):
        wanted.append(_told(flow, address))
    for automation in wanted:
        _put(client, automation)
    return [automation.name for automation in wanted]


def _silent(flow: str, seconds: int) -> AutomationCore:
    return AutomationCore(
        name=f"{_PREFIX}a run whose process is gone is Crashed",
        description=f"The flow has given no sign of life for {seconds} seconds: it was killed, or its machine is off.",
        trigger=_unless({*_ENDED, _ALIVE}, after=_ALIVE, flow=flow, seconds=seconds),
        actions=[_crashed(f"no sign of life for {seconds} s: its process was killed, or its machine is off")],
    )


def _not_begun(flow: str, seconds: int) -> AutomationCore:
    # Scheduled again, or waiting for a slot: then the run waits as it should.
    begun = {f"prefect.flow-run.{name}" for name in ("Running", "Scheduled", "Late", "AwaitingConcurrencySlot")}
    return AutomationCore(
        name=f"{_PREFIX}a run whose worker is gone is Crashed",
        description=f"A worker took the run and has not started it in {seconds} seconds: the worker was killed.",
        trigger=_unless({*_ENDED, *begun, _ALIVE}, after="prefect.flow-run.Pending", flow=flow, seconds=seconds),
        actions=[_crashed(f"not started in {seconds} s: the worker that had taken it was killed")],
    )


def _told(flow: str, address: str) -> AutomationCore:
    if not address.lower().startswith(("http://", "https://")):
        raise ConfigError(f"{WEBHOOK}: expected an http(s) address, found {address!r}", f"correct or unset {WEBHOOK}")
    # Slack, Mattermost, Rocket.Chat and many others take a message in this form.
    block = CustomWebhookNotificationBlock(name=_BLOCK, url=address, json_data={"text": "{{subject}}\n{{body}}"})
    return AutomationCore(
        name=f"{_PREFIX}somebody is told of a failed run",
        description=f"Sends the message of a run that failed or crashed to the address in {WEBHOOK}.",
        trigger=EventTrigger(
            expect={f"prefect.flow-run.{name}" for name in ("Failed", "Crashed", "TimedOut")},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=_of(flow),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            SendNotification(
                block_document_id=block.save(_BLOCK, overwrite=True),
                subject="{{ flow.name }}: run {{ flow_run.name }} is {{ flow_run.state.name }}",
                body="{{ flow_run.state.message }}\n{{ flow_run|ui_url }}",
            )
        ],
    )


def _unless(expected: set[str], *, after: str, flow: str, seconds: int) -> EventTrigger:
    """Fires for a run where, after one event, none of the expected ones has come in so many seconds."""
    return EventTrigger(
        after={after},
        expect=expected,
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=_of(flow),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=seconds),
    )


def _of(flow: str) -> ResourceSpecification:
    return ResourceSpecification({"prefect.resource.role": "flow", "prefect.resource.name": flow})


def _crashed(message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=message)


def _put(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    there = client.read_automations_by_name(wanted.name)
    if there:
        client.update_automation(there[0].id, wanted.model_copy(update={"enabled": there[0].enabled}))
    else:
        client.create_automation(wanted)
    for double in there[1:]:
        client.delete_automation(double.id)
