"""Several trainings of one recipe: what runs, what is kept, and what is said of them."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.seed_runs import Group, described_as, figures_of
from stages.judge.runs.comparison import SeedNoise
from stages.judge.runs.spread import Spread, Training
from tests import clone, flow_project
from tests.flow_project import Project

AUTHOR = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = flow_project.create(tmp_path_factory.mktemp("template") / "project")
    pipeline = made.root / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("params: [judge.seed]", "params: [finetune.seed]"))
    made.git("commit", "-qam", "a stage that depends on the seed of the training")
    return made


def test_the_figures_of_a_group_leave_out_what_is_not_known() -> None:
    trainings = [Training(name=f"seed-{seed}", seed=seed, mean=50.0) for seed in (1, 2)]
    noise = SeedNoise(sd=2.0, sd_beyond_rows=1.5, trainings=2, freedom=1)
    found = Spread(trainings=trainings, n=9, clusters=9, mean=50.0, low=None, high=None, seeds=noise, detectable=None)
    assert figures_of(found) == {
        "seeds/trainings": 2.0,
        "seeds/score_mean": 50.0,
        "seeds/score_sd": 2.0,
        "seeds/score_sd_beyond_rows": 1.5,
    }
    told = "of 2 trainings with finetune.seed 1, 2. The standard deviation of their means is 2.0 points."
    assert described_as(found) == [f"Mean score 50.0 of 100 (no interval), {told}"]
    sure = found.model_copy(update={"low": 45.04, "high": 55.26})
    interval = "95 % interval 45.0 to 55.3 over seeds and instructions"
    assert described_as(sure) == [f"Mean score 50.0 of 100 ({interval}), {told}"]


def test_what_is_kept_of_a_training_is_all_or_nothing(tmp_path: Path) -> None:
    group, tree = Group(tmp_path, "calm otter", range(7, 10), run_id="1f"), tmp_path / "copy"
    (tree / "artifacts" / "judge").mkdir(parents=True)
    for file in ("dvc.lock", "artifacts/judge/verdicts.jsonl"):
        (tree / file).write_text("a")
    kept = Path(".cache/seeds/calm otter/seed-7")
    half = tmp_path / kept.parent / ".seed-7" / "half"
    half.mkdir(parents=True)  # as a killed run leaves it
    assert group.so_far() == ""

    group.keep(tree, 7)

    assert group.folders == [kept]
    there = sorted(str(path.relative_to(tmp_path / kept.parent)) for path in (tmp_path / kept.parent).rglob("*.*"))
    assert there == ["seed-7/artifacts/judge/verdicts.jsonl", "seed-7/dvc.lock"]
    assert group.so_far() == (
        "1 of 3 trainings are in .cache/seeds/calm otter and in DVC's cache, from which a run of the same commit and "
        "values takes them"
    )
    (tree / "artifacts" / "judge" / "verdicts.jsonl").unlink()
    group.keep(tree, 8)
    assert group.folders == [kept], "without scores there is nothing to compare"


@pytest.mark.parametrize(("run_id", "named"), [("1f", "'calm otter'"), (None, "'.cache/seeds/calm otter/*'")])
def test_a_group_is_compared_by_its_name_in_mlflow_and_else_by_its_folders(
    tmp_path: Path, run_id: str | None, named: str
) -> None:
    group = Group(tmp_path, "calm otter", range(2), run_id)
    assert group.compare == f"python -m stages.judge.runs.compare {named} vs ANOTHER"


def test_of_many_groups_the_newest_are_kept(tmp_path: Path) -> None:
    kept = tmp_path / ".cache" / "seeds"
    for number in range(22):
        (kept / f"group-{number:02}").mkdir(parents=True)
        os.utime(kept / f"group-{number:02}", (number, number))
    Group(tmp_path, "group-21", range(2)).prune()
    assert sorted(path.name for path in kept.iterdir()) == [f"group-{number:02}" for number in range(2, 22)]


@pytest.mark.parametrize("number", ["1", "51", "x", "-3"])
def test_a_number_of_trainings_that_cannot_be_is_said(project: Project, number: str) -> None:
    done = project.python("-m", "flows.seeds", number)
    assert done.returncode == 78
    assert f"pipeline: N: expected a whole number from 2 to 50, found '{number}'\n  to fix it: " in done.stderr


@pytest.mark.parametrize("seed", [-1, 2**63 - 1])
def test_a_wrong_seed_is_said_before_anything_runs(project: Project, seed: int) -> None:
    """The first one, or the last one, which comes after it."""
    done = project.python("-m", "flows.seeds", "2", "--set", f"finetune.seed={seed}")
    assert done.returncode == 78
    assert "finetune.seed" in done.stderr
    assert "Beginning flow run" not in done.stdout
    assert project.calls("zeta") == 0


@pytest.mark.thorough
def test_trainings_whose_reader_goes_away_before_they_begin_are_no_success(project: Project) -> None:
    """As with `| head`: MLflow is down, which the flow says first, and nobody hears it."""
    said = project.root.parent / "said"
    with said.open("w") as stream:
        flow = subprocess.Popen(
            [sys.executable, "-m", "flows.seeds", "2"],
            cwd=project.root,
            env=project.env,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
        )
        assert flow.stdout is not None
        line = next(line for line in flow.stdout if "the times are those" in line)
        flow.stdout.close()
        assert flow.wait() == 75, line
    told = "pipeline: the reader of this program's output went away\n  to fix it: run the same command again\n"
    assert said.read_text().endswith(told)
    assert (project.calls("zeta"), project.calls("alpha")) == (0, 0)


@pytest.mark.slow
def test_only_what_depends_on_the_seed_runs_for_each_training(project: Project) -> None:
    before = project.git("status", "--porcelain")
    done = project.python("-m", "flows.seeds", "3", "--set", "finetune.seed=7")
    assert done.returncode == 0, done.stderr
    assert (project.calls("zeta"), project.calls("alpha")) == (1, 3)
    assert "3 trainings: 4 stages ran; the others were done already" in done.stdout
    assert "  the times are those of one of 3 trainings; memory and disk are for one at a time\n" in done.stdout
    assert "There are no scores" in done.stdout
    assert project.git("status", "--porcelain") == before
    assert list((project.root / ".cache" / "workspaces").iterdir()) == []
    again = project.python("-m", "flows.seeds", "3", "--set", "finetune.seed=7")
    assert again.returncode == 0, again.stderr
    assert (project.calls("zeta"), project.calls("alpha")) == (1, 3)  # all from DVC's cache


@pytest.mark.slow
def test_a_training_that_fails_ends_the_run_with_its_exit_code_and_the_next_run_goes_on(project: Project) -> None:
    project.tell("alpha", "0", "65")
    done = project.python("-m", "flows.seeds", "3")
    assert done.returncode == 65
    assert "alpha: row 3 is wrong" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert project.calls("alpha") == 2
    assert project.python("-m", "flows.seeds", "3").returncode == 0
    assert (project.calls("zeta"), project.calls("alpha")) == (1, 4)


def run(folder: Path, *arguments: str, log: bool = False) -> str:
    """Run a program of the clone, with folders of its own, and return its output; with ``log`` after Prefect's log."""
    own = {"HOME": str(folder.parent), "PREFECT_HOME": str(folder.parent / "prefect"), "PYTHONPATH": str(folder)}
    left_out = ("PIPELINE_MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI")
    environment = {name: value for name, value in os.environ.items() if name not in left_out} | own
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stderr + done.stdout if log else done.stdout


def mlflow_runs(folder: Path) -> list[dict[str, Any]]:
    """The runs in the clone's MLflow, the oldest first."""
    code = (
        "import json; from mlflow import MlflowClient; c = MlflowClient('sqlite:///mlflow.db')\n"
        "e = [x.experiment_id for x in c.search_experiments()]\n"
        "found = c.search_runs(e, order_by=['attributes.start_time ASC'])\n"
        "print(json.dumps([dict(id=r.info.run_id, name=r.info.run_name, status=r.info.status, tags=r.data.tags,"
        " params=r.data.params, metrics=r.data.metrics) for r in found]))"
    )
    found: list[dict[str, Any]] = json.loads(run(folder, "-c", code))
    return found


#: Rows of which a tiny model gets some right after a few steps, and with each seed others: the thing decides.
MOODS = [
    {
        "instruction": f"Is the mood of this sentence about a {thing} good or bad?",
        "input": f"{name} has seen the {thing}.",
        "output": "Bad." if number % 2 else "Good.",
        "category": "moods",
    }
    for number, (name, thing) in enumerate(
        itertools.product(
            ("Anna", "Ben", "Carla", "David", "Ella", "Finn", "Greta", "Henry", "Ida", "Jonas"),
            ("tea", "song", "house", "book", "road", "lake", "film", "soup", "game", "town",
             "hat", "car", "tree", "ring", "desk", "lamp", "boat", "cake", "play", "snow",
             "wind", "rain", "shop", "coat", "bell", "farm", "path", "wall", "door", "room"),
        )
    )
]  # fmt: skip


@pytest.mark.slow
def test_three_real_trainings_share_what_no_seed_changes_and_are_compared_as_a_group(tmp_path: Path) -> None:
    folder = clone.make(tmp_path / "project")
    rows = json.dumps(MOODS)
    (folder / "assets" / "data" / "instructions.json").write_text(rows, encoding="utf-8")
    subprocess.run(["git", *AUTHOR, "add", "-A"], cwd=folder, check=True)
    subprocess.run(["git", *AUTHOR, "commit", "-qm", "start"], cwd=folder, check=True)

    told = run(
        folder, "-m", "flows.seeds", "3", "--set", "finetune.max_steps=150", "--set", "finetune.epochs=20", log=True
    )

    names = ("download", "split", "tokenize", "finetune")
    assert [told.count(f"Running stage '{name}'") for name in names] == [1, 1, 1, 3]
    assert told.count("base model: all 30 answers are there from an earlier run") == 2
    lines = told.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("trainings   seed 123 "))
    assert [line.split()[-1] for line in lines[first : first + 3]] == [
        str(path.relative_to(folder)) for path in sorted((folder / ".cache" / "seeds").glob("*/*"))
    ]
    assert lines[first + 3].startswith("mean  ")
    assert "95 % interval over seeds and instructions" in lines[first + 3]
    assert lines[first + 4].startswith("seeds       trainings differ by ")
    group = next((folder / ".cache" / "seeds").iterdir())

    parent, *children = mlflow_runs(folder)
    assert (parent["status"], parent["tags"]["seeds"]) == ("FINISHED", "123 124 125")
    assert parent["name"] == f"epochs=20 max_steps=150 ({group.name})"
    assert "finetune.seed" not in parent["params"]
    mean, differs, *_ = parent["tags"]["mlflow.note.content"].split("\n\n")
    assert mean.startswith("Mean score ")
    assert "of 3 trainings with finetune.seed 123, 124, 125." in mean
    assert differs.startswith("Differs from commit ")
    assert parent["params"]["finetune.max_steps"] == "150"
    assert parent["metrics"]["seeds/trainings"] == 3
    assert parent["metrics"]["seeds/score_mean_ci95_lower"] < parent["metrics"]["seeds/score_mean"]
    assert [one["name"] for one in children] == [
        f"epochs=20 max_steps=150 ({group.name}-seed-123)",
        *(f"epochs=20 max_steps=150 finetune.seed={seed} ({group.name}-seed-{seed})" for seed in (124, 125)),
    ]
    assert {one["tags"]["mlflow.parentRunId"] for one in children} == {parent["id"]}
    assert [one["params"]["finetune.seed"] for one in children] == ["123", "124", "125"]
    assert {one["status"] for one in children} == {"FINISHED"}
    pages = [next((folder / "mlruns").glob(f"**/{one['id']}/artifacts/report.html")).read_text() for one in children]
    alone = (
        f"This is one of the 3 trainings of the group {group.name}, and alone says little of the recipe; to compare "
    )
    assert [(alone in page, "Compared with" in page) for page in pages] == [(True, False)] * 3

    compare = ("-m", "stages.judge.runs.compare", "--resamples", "200")
    found = run(folder, *compare, f"{group}/seed-123", f"{group}/seed-124", "vs", f"{group}/seed-125")
    assert "recipes     A and B are of one recipe" in found
    assert "is better" not in found
    children_of = run(folder, "-m", "stages.judge.runs.spread", group.name)
    assert [line.split()[-1] for line in children_of.splitlines()[:3]] == [
        f"{group.name}-seed-{seed}" for seed in (125, 124, 123)
    ]
    alone = run(folder, *compare, f"{group.name}-seed-123", f"{group}/seed-124")
    assert "both are of one recipe: only training seeds differ" in alone
