"""A run's door is one word in its tag, in `make runs` and on MLflow's pages; runs of earlier versions have it too."""

from __future__ import annotations

import pytest

from stages.running.tracking import doors


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"door": "flow"}, "flow"),
        ({"door": "schedule", "prefect.scheduled": "true"}, "schedule"),
        ({"door": "dvc exp", "dvc.experiment": "first"}, "dvc exp"),
        ({"door": "rerun"}, "rerun"),
        ({}, ""),
        # As earlier versions wrote them.
        ({"door": "prefect"}, "flow"),
        ({"door": "prefect", "prefect.scheduled": "true"}, "schedule"),
        ({"door": "dvc"}, "dvc repro"),
        ({"door": "dvc", "dvc.experiment": "first"}, "dvc exp"),
        ({"door": "direct"}, "stage by hand"),
        ({"door": "publish"}, "published"),
        ({"door": "rescore"}, "rescored"),
    ],
)
def test_the_door_of_a_run_of_any_version(tags, expected):
    assert doors.of(tags) == expected
