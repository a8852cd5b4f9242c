"""What MLflow's pages show at first: the addresses of runs, and a saved view of an experiment with columns and charts.

MLflow keeps the columns of its table of runs in the browser. A saved view keeps them in a tag of the experiment, and an
address that names the view opens the table with them. The form of the tag is that which MLflow's page writes for
*Save view*, and reads (mlflow 3.17: `mlflow.sharedViewState.`, an envelope around the state of the page as JSON).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from stages.running.tracking import metric_names

#: The tag of a run with the values that differ from its commit's.
DIFFERS = "differs"
#: Its value where none does.
NOTHING = "nothing"

#: The name of the view in MLflow's list of views.
_NAME = "scores and losses"
_TAG = "mlflow.sharedViewState."
#: Without it the pages open in the mode "GenAI", of traces and evaluations, whatever the experiment is for.
_TRAINING = "workflowType=machine_learning"

#: The columns of the table after the run's name and the time, and their widths in pixels.
_COLUMNS: Sequence[tuple[str, str, int]] = (
    ("metrics", metric_names.SCORE, 95),
    ("metrics", metric_names.SCORE_LOWER, 155),
    ("metrics", metric_names.SCORE_UPPER, 155),
    ("metrics", metric_names.SEEDS_SCORE, 135),
    ("metrics", metric_names.SEEDS_SCORE_LOWER, 190),
    ("metrics", metric_names.SEEDS_SCORE_UPPER, 190),
    ("metrics", metric_names.RIGHT_N, 100),
    ("metrics", metric_names.RIGHT_OF, 105),
    ("metrics", metric_names.KEPT_LOSS, 110),
    ("tags", DIFFERS, 230),
    ("attributes", "Description", 260),
    ("attributes", "Dataset", 200),
    ("attributes", "User", 90),
    ("attributes", "Source", 170),
    ("attributes", "Version", 90),
)
_NAME_WIDTH = 270

#: The charts: the section, its title, and of each chart its title, its kind, and its metrics.
_CHARTS: Sequence[tuple[str, Sequence[tuple[str, str, Sequence[str]]]]] = (
    (
        "Loss and score",
        (
            ("training and validation loss", "LINE", (metric_names.TRAIN_LOSS, metric_names.VAL_LOSS)),
            ("validation loss of the weights kept", "BAR", (metric_names.KEPT_LOSS,)),
            ("mean score", "BAR", (metric_names.SCORE,)),
            ("mean score, lower end of the 95 % interval", "BAR", (metric_names.SCORE_LOWER,)),
            ("mean score, upper end of the 95 % interval", "BAR", (metric_names.SCORE_UPPER,)),
            ("right answers", "BAR", (metric_names.RIGHT_N,)),
        ),
    ),
)


def runs_page(pages: str, experiment_id: str, *, charts: bool = False) -> str:
    """The address of the table of an experiment's runs.

    Args:
        pages: address of MLflow's pages.
        experiment_id: id of the experiment, which has the tag that `saved_view` gives.
        charts: whether it is that of the charts.
    """
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"{_experiment(pages, experiment_id)}/runs?{_TRAINING}&viewStateShareKey={_key()}{mode}"


def run_page(pages: str, experiment_id: str, run_id: str) -> str:
    """The address of the page of a run."""
    return f"{_experiment(pages, experiment_id)}/runs/{run_id}?{_TRAINING}"


def file_page(run: str, path: str) -> str:
    """The address of the page of a run on which one of its files is shown.

    Args:
        run: address of the run's page, as `run_page` gives it.
        path: path of the file in the run.

    >>> file_page("http://host/#/experiments/1/runs/2f?workflowType=machine_learning", "report.html")
    'http://host/#/experiments/1/runs/2f/artifacts/report.html?workflowType=machine_learning'
    """
    page, _, mode = run.partition("?")
    return f"{page}/artifacts/{path}?{mode}"


def saved_view(created: int) -> tuple[str, str]:
    """The tag of an experiment that holds the view: its name and its value.

    The name has a hash of what the view shows. A view that somebody has changed on the page stays as it is, and another
    version of this module adds its own.

    Args:
        created: when the experiment was made, in milliseconds since 1970; the page shows it.
    """
    envelope = {"name": _NAME, "createdAt": created, "updatedAt": created, "state": json.dumps(_state())}
    return f"{_TAG}{_key()}", json.dumps(envelope)


def _experiment(pages: str, experiment_id: str) -> str:
    return f"{pages.rstrip('/')}/#/experiments/{experiment_id}"


def _key() -> str:
    return f"pipeline-{hashlib.sha256(json.dumps(_state()).encode()).hexdigest()[:8]}"


def _state() -> dict[str, Any]:
    """The state of MLflow's page of runs: sorted by time, the newest first, with columns and charts."""
    columns = [f"{kind}.`{name}`" for kind, name, _ in _COLUMNS]
    widths = {f"{kind}.`{name}`": width for kind, name, width in _COLUMNS}
    charts: list[dict[str, Any]] = []
    sections: list[dict[str, Any]] = []
    for section, (title, ones) in enumerate(_CHARTS):
        at = f"pipeline-section-{section}"
        sections.append(
            {"uuid": at, "name": title, "display": True, "isReordered": False, "deleted": False, "isGenerated": False}
        )
        charts += [_chart(f"{at}-{number}", at, *one) for number, one in enumerate(ones)]
    return {
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": ["attributes.`Run Name`", *columns],
        "columnWidths": {"attributes.`Run Name`": _NAME_WIDTH, **widths},
        "compareRunCharts": charts,
        "compareRunSections": sections,
        # Sections of the other metrics, which the page makes, follow ours.
        "isAccordionReordered": True,
    }


def _chart(uuid: str, section: str, title: str, kind: str, metrics: Sequence[str]) -> dict[str, Any]:
    """A chart, as MLflow's page describes it."""
    chart: dict[str, Any] = {
        "uuid": uuid,
        "type": kind,
        "metricSectionId": section,
        "metricKey": metrics[0],
        "selectedMetricKeys": list(metrics),
        "displayName": title,
        "deleted": False,
        "isGenerated": False,
        "runsCountToCompare": 10,
    }
    if kind == "LINE":
        chart |= {
            "xAxisKey": "step",
            "yAxisKey": "metric",
            "yAxisExpressions": [],
            "scaleType": "linear",
            "xAxisScaleType": "linear",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
            "ignoreOutliers": False,
            "range": {},
            "useGlobalXaxisKey": True,
            "useGlobalLineSmoothing": True,
        }
    return chart
