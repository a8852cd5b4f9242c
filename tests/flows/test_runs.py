"""The table of all runs: by hand where it is about lines, and of real stages over a real store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows import runs
from stages.running.report import REPORT, mark
from stages.running.tracking import published
from stages.running.tracking.listing import Listing, Run
from tests import clone
from tests.root import ROOT

NINE = int(datetime(2026, 11, 27, 9, 0, tzinfo=UTC).timestamp() * 1000)


def committed(_: Path, commit: str) -> dict[str, object] | None:
    return {"judge": {"seed": 123, "model": "llama3"}, "finetune": {"lora": None}} if commit == "37288ae0" else None


def made(name: str, **changes: object) -> Run:
    values = {"judge": {"seed": 123, "model": "llama3"}, "finetune": {"lora": None}}
    scores = {
        "score/mean": 54.4,
        "score/mean_ci95_lower": -0.01,
        "score/mean_ci95_upper": 58.6,
        "loss/val_kept": 2.0215,
    }
    scores |= {"score/right_n": 8.0, "score/right_of": 99.0}
    tags = {"git.commit": "37288ae0", "git.dirty": "true", "judge.backend": "reference"}
    fields = {"started": NINE, "door": "dvc repro", "state": "finished", "values": values, "metrics": scores}
    return Run(name=name, run_id="1f", **{"tags": tags, **fields, **changes})  # type: ignore[arg-type]


def lines(*found: Run, width: int = 120) -> list[str]:
    return list(runs.table(found, runs.Differences(Path(), committed), width))


def test_a_group_of_trainings_has_the_mean_of_their_scores() -> None:
    figures = {"seeds/trainings": 4.0, "seeds/score_mean": 39.25, "seeds/score_mean_ci95_lower": 31.0}
    assert "39.2, 4 seeds" in lines(made("group", metrics=figures))[1]
    figures["seeds/score_mean_ci95_upper"] = 47.04
    assert "39.2 [31.0, 47.0], 4 seeds" in lines(made("group", metrics=figures))[1]


def test_the_champion_is_told_below_its_line() -> None:
    first, second, *_ = lines(made("calm-otter", champion="instruct-pipeline-quick version 3"))[1:]
    assert first.split()[2] == "calm-otter"
    assert second == "    the champion: instruct-pipeline-quick version 3"
    listed = Listing("x", [made("a", champion="m version 3"), made("b")])
    found = json.dumps(runs.as_json(listed, runs.Differences(Path(), committed)))
    assert [run["champion"] for run in json.loads(found)["runs"]] == ["m version 3", None]


def test_a_run_is_a_line_with_the_values_that_differ_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    lora = {"rank": 2, "alpha": 2.0, "targets": ["c_attn"]}
    found = lines(
        made("calm-otter"),
        made("dizzy-moth", door="dvc exp", values={"judge": {"seed": 7, "model": "qwen3"}, "finetune": {"lora": lora}}),
        made("left", state="killed", metrics={}, tags={}),
    )
    assert found == [
        "started         run         door       state     val. loss  right    score of 100 [95 %]  judge      commit",
        "26-11-27 09:00  calm-otter  dvc repro  finished  2.022      8 of 99  54.4 [0.0, 58.6]     reference  37288ae*",
        "26-11-27 09:00  dizzy-moth  dvc exp    finished  2.022      8 of 99  54.4 [0.0, 58.6]     reference  37288ae*",
        '    judge.seed=7 judge.model=qwen3 finetune.lora={"rank": 2, "alpha": 2.0, "targets": ["c_attn"]}',
        "26-11-27 09:00  left        dvc repro  killed    -          -        -                    -          -",
    ]


@pytest.mark.parametrize("width", [120, 80])
def test_the_mark_of_a_judge_stands_below_its_score(width: int) -> None:
    """In a narrow terminal too, which has no column for the judge."""
    tags = {"git.commit": "37288ae0", "judge.model": "llama3", "judge.self_test": "refused by its self-test"}
    assert lines(made("calm-otter", tags=tags), width=width)[2] == "    WARNING: the judge: REFUSED BY ITS SELF-TEST"


@pytest.mark.parametrize("width", [120, 100, 80])
def test_the_table_fits_the_terminal(width: int) -> None:
    model = {"git.commit": "37288ae0", "judge.model": "a-model-with-a-long-name:70b"}
    values = {"judge": {"seed": 7, "model": "a value of many words " * 20}, "finetune": {"lora": None}}
    found = lines(made("20261127T093250Z-quick-a7e2c70-and-more-than-fits", tags=model, values=values), width=width)

    assert max(map(len, found)) <= width
    assert "54.4 [0.0, 58.6]" in found[1]
    assert found[1].startswith("26-11-27")


@pytest.mark.parametrize("door", ["flow", "dvc repro", "stage by hand"])
@pytest.mark.parametrize("right", [8.0, 12345.0])
@pytest.mark.parametrize("name", ["a", "calm-otter", "arboreal-barnacle-of-the-north-1"])
def test_120_characters_have_score_interval_and_judge_whatever_else_there_is(
    door: str, right: float, name: str
) -> None:
    scores = {
        "score/mean": 100.0,
        "score/mean_ci95_lower": 100.0,
        "score/mean_ci95_upper": 100.0,
        "loss/val_kept": 10.0,
    }
    tags = {"git.commit": "37288ae0", "git.dirty": "true", "judge.model": "a-model-of-seventy:70b"}
    found = lines(made(name, door=door, tags=tags, metrics=scores | {"score/right_n": right, "score/right_of": right}))

    assert max(map(len, found)) <= 120
    assert "100.0 [100.0, 100.0]  a-model-of-se…" in found[1]
    shown = found[1].split("  ")[1]
    first, cut, last = shown.partition("…")
    assert (shown == name) if len(name) < 12 else (cut and name.startswith(first) and name.endswith(last))
    assert len(shown) >= min(len(name), 12)


def test_a_hostile_name_or_value_commands_no_terminal() -> None:
    values = {"judge": {"seed": "\x1b]0;x\x07", "model": "llama3"}, "finetune": {"lora": None}}
    text = "".join(lines(made("a\x1b[2J\nb", values=values)))

    assert "\x1b" not in text
    assert "a\\x1b[2J b" in text


def program(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return subprocess.run(
        [sys.executable, "-m", "flows.runs", *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_elsewhere_than_in_a_project_it_is_one_message(tmp_path: Path) -> None:
    done = program(tmp_path)

    assert done.returncode == 78
    assert (
        done.stderr == f"runs: {tmp_path}: no params.yaml here\n  to fix it: run the command in the project's folder\n"
    )


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_a_count_that_is_none_is_refused(tmp_path: Path, count: str) -> None:
    assert f"expected a whole number of at least 1, found {count!r}" in program(tmp_path, "-n", count).stderr


def test_the_last_lines_say_where_the_report_is_and_how_that_of_any_run_is_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker")
    of_any = "report of a run: python -m flows.report RUN"
    assert list(runs.reports(tmp_path)) == [of_any]
    (tmp_path / REPORT).parent.mkdir()
    (tmp_path / REPORT).write_text(f'<meta name="about" content="{mark(tmp_path)}">')
    assert list(runs.reports(tmp_path)) == [f"report of the results here: {REPORT}", of_any]
    published.keep(tmp_path, "1f", "calm-otter")
    assert list(runs.reports(tmp_path)) == [f"report of calm-otter: {REPORT}", of_any]


@pytest.mark.slow
def test_real_stages_leave_their_runs_by_each_door_of_dvc(tmp_path: Path) -> None:
    """A `dvc repro`, an experiment, and a stage by hand."""
    folder = clone.make(tmp_path / "clone")
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")} | {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }

    def do(*command: str) -> str:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "no run of this project is on record there" in program(folder).stderr
    for name, value in (("user.name", "a"), ("user.email", "a@example.org")):
        do("git", "config", "--global", name, value)
    do("git", "add", "-A")
    do("git", "commit", "-q", "-m", "start")
    told = do("dvc", "repro")
    do("git", "add", "-A")
    do("git", "commit", "-q", "-m", "the first run")
    tried = do("dvc", "exp", "run", "-n", "dizzy-moth", "-S", "judge.seed=7", "-S", "finetune.learning_rate=0.002")
    do(sys.executable, "-m", "stages.judge")

    found = json.loads(program(folder, "--json").stdout)["runs"]
    hand, experiment, first = found
    commit = do("git", "rev-parse", "HEAD").strip()
    assert [(run["door"], run["state"]) for run in found] == [
        ("stage by hand", "finished"),
        ("dvc exp", "finished"),
        ("dvc repro", "finished"),
    ]
    assert experiment["name"] == "lr=0.002 judge.seed=7 (dizzy-moth)"
    assert f"run         {first['name']}\n" in told
    assert "run         lr=0.002 judge.seed=7 (dizzy-moth)\n" in tried
    assert "compared    the same scores as the last commit, " in tried  # both models get no answer right
    assert (experiment["commit"], experiment["dirty"]) == (commit, False)
    assert experiment["differs"] == {"judge.seed": "7", "finetune.learning_rate": "0.002"}
    assert (first["differs"], hand["differs"]) == ({}, experiment["differs"])
    assert {"loss/val_kept", "score/mean"} <= experiment["metrics"].keys()
    table = program(folder).stdout
    assert max(map(len, table.splitlines())) <= 120
    assert "    finetune.learning_rate=0.002 judge.seed=7\n" in table


def test_a_name_is_cut_in_its_middle_so_that_trainings_are_told_apart() -> None:
    names = [f"arboreal-barnacle-of-the-north-sea-seed-{seed}" for seed in (123, 124)]
    found = [line.split("  ")[1] for line in lines(*map(made, names), width=200)[1:]]
    assert found == ["arboreal-barnac…rth-sea-seed-123", "arboreal-barnac…rth-sea-seed-124"]


def test_the_reason_of_a_run_that_was_broken_off_stands_below_it() -> None:
    failed = made("moth", state="failed", metrics={}, tags={"ended": "finetune: rows do not fill a batch"})
    killed = made("ox", state="killed", metrics={}, tags={"ended": f"judge: {'no answer ' * 40}"})
    found = lines(failed, killed, made("calm-otter", tags={"ended": "left from an earlier try"}), width=80)
    assert found[2] == "    failed: finetune: rows do not fill a batch"
    assert found[4].startswith("    killed: judge: no answer no answer")
    assert (len(found), found[5].endswith(" …"), max(map(len, found)) <= 80) == (7, True, True)
    (entry,) = runs.as_json(Listing("x", [failed]), runs.Differences(Path(), committed))["runs"]  # type: ignore[misc, attr-defined]
    assert entry["ended"] == "finetune: rows do not fill a batch"


def test_scores_of_several_datasets_are_said_not_to_be_comparable() -> None:
    first, second = ({"download": {"data": {"source": source}}} for source in ("data/a.json", "../b.csv"))
    one = [made("a", values=first), made("b", values=first)]
    assert list(runs.of_data(one)) == []
    assert list(runs.of_data([*one, made("c", values=second, metrics={})])) == [], "it has no score"
    assert list(runs.of_data([*one, made("d", values=second)])) == [
        "these scores are of 2 datasets (download.data): those of other test rows are not comparable"
    ]
