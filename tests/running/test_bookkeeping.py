"""Files beside the results: one that cannot be written is told in one line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from stages.common.results.judge import VERDICTS
from stages.judge.job import keep_costs
from stages.running import bookkeeping
from stages.running.costs import JUDGING_COSTS, JudgingCosts
from stages.running.tracking import execution, live


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(live.RUN_ID_VARIABLE, "none")


def test_a_failure_is_one_line_with_the_path_and_the_reason(capsys):
    with bookkeeping.optional(Path("a/b.json")):
        Path("nowhere/c").write_text("")

    assert capsys.readouterr().out == "a/b.json: No such file or directory: not kept; no result depends on it\n"


def test_another_error_is_no_matter_of_files():
    with pytest.raises(ValueError, match="wrong"), bookkeeping.optional(Path("a")):
        raise ValueError("wrong")


@pytest.mark.parametrize("finished", [False, True])
def test_costs_of_judging_that_cannot_be_kept_fail_no_stage(capsys, finished):
    VERDICTS.parent.mkdir(parents=True)
    VERDICTS.write_text("{}\n")
    (JUDGING_COSTS / "in the way").mkdir(parents=True)
    keep_costs(JudgingCosts(replies=3, seconds=1.5), finished=finished)

    said = capsys.readouterr().out
    assert said == ".cache/judge/ledger.json: Is a directory: not kept; no result depends on it\n"
    assert hashlib.sha256(VERDICTS.read_bytes()).hexdigest().startswith("ca3d163bab05")


def test_a_mark_of_tracking_that_cannot_be_left_fails_no_stage(capsys):
    execution.MARKS.parent.mkdir(parents=True)
    execution.MARKS.write_text("no folder")
    execution.mark(execution.Execution("host:1:2:3", "dvc repro"), "split")

    assert capsys.readouterr().out.startswith(".cache/tracking/host:1:2:3/split: ")
