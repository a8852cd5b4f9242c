"""How a run was started, in the words of its tag `door`, which `make runs` and MLflow's pages show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: The tag.
TAG: Final = "door"
FLOW, SCHEDULE, REPRO, EXPERIMENT, BY_HAND = "flow", "schedule", "dvc repro", "dvc exp", "stage by hand"
PUBLISHED, RESCORED, RERUN = "published", "rescored", "rerun"

#: The tag of a run of the flow that a schedule has started.
SCHEDULED = "prefect.scheduled"
#: The tag with the name of a DVC experiment.
EXPERIMENT_TAG = "dvc.experiment"
#: The tag `door` of runs of earlier versions, where one word says it.
_EARLIER = {"direct": BY_HAND, "publish": PUBLISHED, "rescore": RESCORED}
#: What runs that score another one's answers have as their door, in any version.
ALL_RESCORED = (RESCORED, "rescore")


def of(tags: Mapping[str, str]) -> str:
    """The door of a run of any version; empty where it has none.

    >>> of({"door": "flow"}), of({"door": "prefect", "prefect.scheduled": "true"}), of({"door": "publish"})
    ('flow', 'schedule', 'published')
    """
    door = tags.get(TAG, "")
    if door == "prefect":
        return SCHEDULE if tags.get(SCHEDULED) == "true" else FLOW
    if door == "dvc":
        return EXPERIMENT if tags.get(EXPERIMENT_TAG) else REPRO
    return _EARLIER.get(door, door)
