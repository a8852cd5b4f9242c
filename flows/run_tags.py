"""The tags of a run on Prefect's pages: its lists show them, and no value of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run as this_flow_run

from flows import form, profiles
from flows.outcome import server_is_gone
from stages.common.printable import printable
from stages.common.secrecy import hidden
from stages.params import reading
from stages.params.differences import shown
from stages.params.options import nested
from stages.running.tracking import names

#: How many tags say what a run was asked for.
_MOST = 5


def asked(profile: str, overrides: Mapping[str, object], trainings: int = 0) -> list[str]:
    """What a run was asked for, a tag each, such as ``["profile=gpt2-medium", "epochs=4", "3 more"]``.

    The names are those in the names of MLflow's runs.

    Args:
        profile: name of a profile, or `profiles.CURRENT`.
        overrides: values by dotted key, or nested.
        trainings: how often the recipe is trained; 0 for once, with its own seed.
    """
    given = {key: printable(hidden(shown(value))) for key, value in reading.flatten(nested(overrides)).items()}
    tags = [f"trainings={trainings}"] if trainings else []
    tags += [f"profile={profile}"] if profile != profiles.CURRENT else []
    tags += names.assigned(given, form.value_keys())
    more = [f"{len(tags) - _MOST} more"] if len(tags) > _MOST else []
    return tags[:_MOST] + more


def tell(tags: Sequence[str]) -> None:
    """Add tags to this Prefect run; where that fails, its log says so, and the run goes on."""
    if not tags or server_is_gone():
        return
    try:
        add(tags)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        get_run_logger().warning("Prefect: this run has no tags that say what it was asked for: %s", reason)


def add(tags: Sequence[str]) -> None:
    """Add tags to this Prefect run."""
    with get_client(sync_client=True) as client:
        run = UUID(str(this_flow_run.id))
        there = client.read_flow_run(run).tags
        client.update_flow_run(run, tags=[*there, *(tag for tag in tags if tag not in there)])
