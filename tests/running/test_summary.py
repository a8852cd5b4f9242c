"""The summary, line for line, of a project whose files are written by hand."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.common.files import sha256, write_json, write_jsonl
from stages.common.metrics.generate import GenerateMetrics
from stages.common.metrics.judge import (
    CategoryMean,
    JudgeIdentity,
    Mean,
    ModelScores,
    PairwiseMetrics,
    Right,
    RightDifference,
)
from stages.common.records import write_metrics
from stages.common.results.download import LEFT_OUT
from stages.common.results.finetune import FINETUNE_METRICS, HISTORY, LOSS_CSV, TUNED_MODEL
from stages.common.results.generate import GENERATE_METRICS, RESPONSES
from stages.common.results.judge import JUDGE_METRICS, SCORES_PLOT, VERDICTS
from stages.common.results.split import SPLIT_METRICS, split_file
from stages.common.results.tokenize import TOKENS_METRICS
from stages.running import console, summary
from stages.running.costs import TRAINING_COSTS
from stages.running.summary_parts.lines import narrowed
from stages.running.summary_parts.training import cost_lines
from stages.running.tracking import execution, published
from tests import results, small_pipeline
from tests.root import ROOT

LONG = "Rewrite the sentence in the passive voice and keep its tense, its names and every one of its adverbs, please."

EXPECTED = """\
profile     quick
data        1,000 train, 4 test and 55 validation rows
model       GPT-2, 2 layers, width 128, 6,862,464 parameters, from random weights
training    1 epoch, 660 steps, 1,234,567 tokens, fp32, on the CPU
            train loss       10.500 → 0.900 nats a token (of the last step's batch)
            validation loss  11.000 → 2.500 nats a token (best 2.250 at step 550)
            time             1 min 5 s, estimated 58 s; first step after 6 s; 1.5 GiB at most
            speed            6,250 tokens/s, HFU 42 % of 0.15 TFLOP/s measured here
score       mean of the answers with its 95 % interval, by the built-in reference judge
            before       20.0 of 100 points [15.0, 25.0]   4 scored, 0 invalid, 0 failed
            fine-tuned   60.0 of 100 points [55.0, 65.0]   3 scored, 1 invalid, 0 failed
            difference  +40.0 points [+30.0, +50.0]   on 3 rows
            categories: spelling 90 of 100 points, active/passive 30
            points lost: wrong but fluent 31.2 (in 2 answers), too long 4.0 (in 2 answers), misspelt 1.0 (in 2 answers)
            Right: with the key words of the reference, and nothing that contradicts them. The built-in judge knows
              words, not their meaning: docs/judge.md.
answers     exact 0.0 → 25.0 %, token F1 0.01 → 0.62 of 1, chrF 1.3 → 57.9 of 100
            ended by itself 0 → 75 %, cut at the cap 100 → 0 %
            with parts of the prompt's template 50 → 0 %, length ratio 4.20 → 0.98
            1 prompt leaves no room for an answer: too long for the model
            bf16 changes 50 → 3 % of the first 32 answers
example     Rewrite the sentence in the passive voice and keep its tense, its names and every one of its adverbs, ple…
            reference   The song is sung.
            before      (nothing)
            fine-tuned  The song is sung.   (100 of 100 points)
example     Spell: colour
            reference   c-o-l-o-u-r
            before      c
            fine-tuned  c-o-l-o-r   (90 of 100 points)
example     Spell: it
            reference   i-t
            before      c
            fine-tuned  line one line two   (5 of 100 points)
files       model       artifacts/finetune/model
            history     artifacts/finetune/history.jsonl
            loss curve  artifacts/finetune/loss.csv (dvc plots show)
            answers     artifacts/generate/responses.jsonl
            verdicts    artifacts/judge/verdicts.jsonl
            score plot  artifacts/judge/scores.png
            MLflow      http://***@tracker
            compare     make ui"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which nothing has run."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@tracker")
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
    return tmp_path


FAULTS = {"wrong but fluent": 31.25, "too long": 4.0, "misspelt": 1.0, "cut off": 0.5, "empty": 0.25}


def scores(mean: float | None, scored: int, categories: dict[str, float | None] | None = None) -> ModelScores:
    return results.model_scores(mean, scored=scored, n=4, categories=categories, faults=FAULTS)


REFERENCE = results.identity()
LLAMA = results.identity(backend="ollama", model="llama3")


def write_judged(root: Path, judge: JudgeIdentity, tuned: ModelScores, **parts: Any) -> None:
    write_metrics(root / JUDGE_METRICS, results.judge_metrics(judge, tuned, **parts))


def write_history(root: Path, first: float) -> None:
    before = {"step": 0, "epoch": 0, "tokens_seen": 0, "val_loss": 11.0}
    write_jsonl(root / HISTORY, [before, {"step": 1, "epoch": 1, "tokens_seen": 9, "train_loss": first}])


def fill(root: Path) -> None:
    """What the six stages write, as far as the summary reads it."""
    write_metrics(root / SPLIT_METRICS, results.split_metrics(all=1059, train=1000, test=4, val=55))
    losses = {"train_loss": 0.9, "val_loss_before": 11.0, "val_loss": 2.5, "best_val_loss": 2.25, "best_step": 550}
    counts = {"parameters": 6862464, "precision": "fp32", "steps": 660, "epochs": 1, "tokens_seen": 1234567}
    write_metrics(root / FINETUNE_METRICS, results.finetune_metrics(**counts, **losses))
    write_history(root, first=10.5)
    times = {"seconds": 65.2, "estimated_seconds": 57.9, "seconds_to_first_step": 6.0}
    speeds = {"tokens_per_second": 6250.4, "hfu": 0.42, "peak_tflop_per_second": 0.15}
    memory = {"peak_memory_bytes": 3 << 29}
    ours = {"history": sha256(root / HISTORY)}
    write_metrics(root / TRAINING_COSTS, results.training_costs(**ours, **times, **speeds, **memory))
    (root / TUNED_MODEL).mkdir()
    (root / LOSS_CSV).touch()
    rows = [
        ("a", "Spell:", "colour", "c-o-l-o-u-r", "c-o-l-o-r", 90.0),
        ("b", LONG, "", "The song is sung.", "The song is sung.", 100.0),
        ("c", "Spell:", "it", "i-t", "line one\n\nline two", 5.0),
        ("d", "Spell:", "we", "w-e", "?", None),
    ]
    write_jsonl(
        root / split_file("test"),
        [{"id": i, "instruction": q, "input": x, "output": y, "category": "c"} for i, q, x, y, _, _ in rows],
    )
    made = {"stop_reason": "end_of_text", "tokens": 1}
    base = [{"id": i, "model": "base", "text": "" if i == "b" else "c"} | made for i, *_ in rows]
    tuned = [{"id": i, "model": "tuned", "text": answer} | made for i, _, _, _, answer, _ in rows]
    write_jsonl(root / RESPONSES, base + tuned)
    write_jsonl(
        root / VERDICTS,
        [
            {"id": i, "model": "tuned", "status": "invalid" if s is None else "scored", "score": s, "detail": ""}
            for i, _, _, _, _, s in reversed(rows)
        ],
    )
    names = ("exact_match", "token_f1", "chrf", "end_of_text_rate", "cap_hit_rate", "template_leaks", "length_ratio")
    figures = {"base": (0.0, 0.0123, 1.34, 0.0, 1.0, 0.5, 4.2), "tuned": (0.25, 0.6234, 57.91, 0.75, 0.0, 0.0, 0.98)}
    measures = {model: dict(zip(names, found, strict=True)) | {"no_room": 1} for model, found in figures.items()}
    measures["base"] |= {"bf16_compared": 32, "bf16_changed": 0.5}
    measures["tuned"] |= {"bf16_compared": 32, "bf16_changed": 0.0312}
    answered = GenerateMetrics(**{model: results.answer_metrics(**found) for model, found in measures.items()})
    write_metrics(root / GENERATE_METRICS, answered)
    categories = {"active/passive": 30.0, "empty": None, "spelling": 90.0}
    difference = Mean(n=3, mean=40.0, interval=results.interval(30.0, 50.0))
    base = scores(20.0, 4, categories)
    write_judged(root, REFERENCE, scores(60.0, 3, categories), base=base, difference=difference)
    (root / SCORES_PLOT).touch()


def test_the_whole_summary(root: Path) -> None:
    fill(root)
    published.keep(root, "1f")
    assert summary.text(root) == EXPECTED
    assert max(map(len, EXPECTED.splitlines())) <= console.WIDTH


def test_shares_that_rounding_would_make_none_or_all_have_a_decimal(root: Path) -> None:
    """As of 201 rows, of which one was cut; and of 10,000, of which one was."""
    for shares, told in (
        ((0.995, 0.005), "ended by itself 99.5 %, cut at the cap 0.5 %"),
        ((0.9999, 0.0001), "ended by itself >99.9 %, cut at the cap <0.1 %"),
        ((1.0, 0.0), "ended by itself 100 %, cut at the cap 0 %"),
        ((0.9851, 0.0149), "ended by itself 99 %, cut at the cap 1 %"),
    ):
        measures = dict(zip(("end_of_text_rate", "cap_hit_rate"), shares, strict=True))
        write_metrics(root / GENERATE_METRICS, GenerateMetrics(tuned=results.answer_metrics(**measures)))
        assert f"            {told}" in summary.text(root).splitlines()


def test_a_summary_beside_make_ui_has_the_address_of_the_pages(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(root)
    # A store without pages of its own.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://tracker/mlflow")
    published.keep(root, "1f", experiment="7")
    assert summary.text(root).splitlines()[-1] == "            compare     make ui"
    monkeypatch.setenv("PREFECT_HOME", str(root / "prefect"))
    known = {"process": execution.identity(), "prefect": None, "mlflow": "http://127.0.0.1:5001", "database": ""}
    (root / "prefect").mkdir()
    (root / "prefect" / "servers.json").write_text(json.dumps(known))
    assert (
        summary.text(root).splitlines()[-1].startswith("            compare     http://127.0.0.1:5001/#/experiments/7/")
    )


def test_the_store_is_named_only_if_it_has_these_results(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(root)
    how = "            MLflow      not there; to add these results: python -m flows.publish"
    assert summary.text(root).splitlines()[-1] == how
    published.keep(root, "1f")
    assert summary.text(root).splitlines()[-2:] == EXPECTED.splitlines()[-2:]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://another")
    assert summary.text(root).splitlines()[-1] == how
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@tracker")
    write_judged(root, LLAMA, scores(51.25, 4))
    assert summary.text(root).splitlines()[-1] == how, "these are other results"


def test_what_is_not_made_yet_is_named_with_its_command(root: Path) -> None:
    assert summary.text(root).splitlines() == [
        "profile     quick",
        "data        not made yet: dvc repro split",
        "model       GPT-2, 2 layers, width 128, from random weights",
        "training    not made yet: dvc repro finetune",
        "score       not made yet: dvc repro judge",
        "answers     not made yet: dvc repro generate",
    ]


def test_the_files_of_a_folder_that_goes_are_not_named(root: Path) -> None:
    fill(root)
    kept, _ = EXPECTED.split("files ")
    assert summary.text(root, name_files=False).splitlines() == [
        *kept.splitlines(),
        "files       in DVC's cache; put the same values into params.yaml, and dvc repro takes them from there",
        "            MLflow      not there; to add these results, after that: python -m flows.publish",
    ]


def test_the_model_is_from_where_it_was_taken(root: Path) -> None:
    params = (root / "params.yaml").read_text()
    params = params.replace("    weights: scratch\n", "    weights: folder\n").replace(
        "    repo:\n", "    repo: ../mine\n"
    )
    (root / "params.yaml").write_text(params)
    assert "model       GPT-2, 2 layers, width 128, from ../mine" in summary.text(root).splitlines()


def test_right_answers_are_told_before_and_after_with_the_rows_that_are_not_judged(root: Path) -> None:
    fill(root)
    share = results.interval(0.4, 0.6)
    tuned = results.model_scores(
        60.0, scored=100, n=104, right=Right(n=100, right=50, share=0.5, interval=share), open=4
    )
    kinds = {
        "spelling": CategoryMean(n=9, scored=8, mean=90.0, right=6),
        "facts": CategoryMean(n=2, scored=2, mean=1.0, right=0),
    }
    base = results.model_scores(2.0, scored=102, n=104, right=Right(n=102, right=1, share=0.0098, interval=share))
    change = RightDifference(n=99, gained=50, lost=1, difference=0.4949, interval=results.interval(0.39, None))
    tuned = tuned.model_copy(update={"categories": kinds})
    write_judged(root, REFERENCE, tuned, base=base, right_difference=change)
    shown = summary.text(root)
    assert (
        "            right      1 → 50 of 100 answers, 50.0 % [40.0, 60.0]\n"
        "                       +49.5 % points, no interval   50 gained, 1 lost\n"
        "            open       4 rows with many right answers: not for this judge, and in no figure\n"
        "            categories: spelling 6 of 8 right, facts 0 of 2\n"
    ) in shown


@pytest.mark.parametrize(
    ("right", "shown"),
    [
        (
            [(2, 2), (6, 6), (0, 2), (0, 15), (0, 8), (0, 3), (0, 3), (0, 1), (0, 1)],
            [
                "            best: k1 6 of 6 right, k0 2 of 2",
                "            worst: k3 0 of 15 right, k4 0 of 8, k5 0 of 3, k6 0 of 3, and 3 more with 0 right",
            ],
        ),
        (
            [(0, 1)] * 9,
            ["            worst: k0 0 of 1 right, k1 0 of 1, k2 0 of 1, k3 0 of 1, and 5 more with 0 right"],
        ),
        (
            [(1, 4), (2, 4), (3, 4), (4, 4), (5, 5), (1, 5), (1, 2), (0, 1), (2, 8)],
            [
                "            best: k4 5 of 5 right, k3 4 of 4, k2 3 of 4, k1 2 of 4",
                "            worst: k7 0 of 1 right, k5 1 of 5, k8 2 of 8, k0 1 of 4",
            ],
        ),
    ],
)
def test_the_best_kinds_have_right_answers_and_of_equal_ones_those_with_more_rows_stand_first(
    root: Path, right: list[tuple[int, int]], shown: list[str]
) -> None:
    fill(root)
    kinds = {
        f"k{number}": CategoryMean(n=rows, scored=rows, mean=1.0, right=some)
        for number, (some, rows) in enumerate(right)
    }
    write_judged(root, REFERENCE, scores(60.0, 4).model_copy(update={"categories": kinds}))
    lines = summary.text(root).splitlines()
    assert [line for line in lines if line.startswith(("            best:", "            worst:"))] == shown


def test_a_language_model_as_judge_is_named_and_its_score_not_played_down(root: Path) -> None:
    fill(root)
    categories: dict[str, float | None] = {f"category {number}": float(number) for number in range(10)}
    write_judged(root, LLAMA, scores(51.25, 4, categories))
    lines = summary.text(root).splitlines()
    assert lines[8:12] == [
        "score       mean of the answers with its 95 % interval, by llama3",
        "            fine-tuned   51.2 of 100 points [46.2, 56.2]   4 scored, 0 invalid, 0 failed",
        "            best: category 9 9 of 100 points, category 8 8, category 7 7, category 6 6",
        "            worst: category 0 0 of 100 points, category 1 1, category 2 2, category 3 3",
    ]
    assert not any("built-in" in line for line in lines)


def side_by_side(mean: float | None, low: float | None, controlled: float | None, **changes: Any) -> PairwiseMetrics:
    around = results.interval(low, low and 0.975)
    return results.pairwise_metrics(mean, around, controlled, results.interval(None, None), **changes)


@pytest.mark.parametrize(
    ("found", "first", "second"),
    [
        (
            side_by_side(0.8333, 0.5, 0.7612),
            "pairwise   83.3 % [50.0, 97.5] won, 76.1 % at equal length",
            "           2 wins, 1 tie, 0 losses, 1 unjudged; the orders agree in 67 %",
        ),
        (
            side_by_side(0.8333, None, None, invalid=0, consistency=None),
            "pairwise   83.3 % won",
            "           2 wins, 1 tie, 0 losses",
        ),
    ],
)
def test_answers_side_by_side_are_two_lines(root: Path, found: PairwiseMetrics, first: str, second: str) -> None:
    fill(root)
    write_judged(root, LLAMA, scores(60.0, 3), pairwise=found)
    lines = summary.text(root).splitlines()
    assert lines[10:12] == [f"            {first}", f"            {second}"]


def test_answers_side_by_side_without_a_verdict_are_a_line(root: Path) -> None:
    fill(root)
    write_judged(root, REFERENCE, scores(60.0, 3), pairwise=side_by_side(None, None, None))
    assert "            pairwise   no verdict on 4 rows" in summary.text(root).splitlines()


def test_a_mean_corrected_by_human_labels_is_two_lines(root: Path) -> None:
    fill(root)
    tuned = results.calibrated(60.0, 40.5, results.interval(30.25, 50.75), n=20)
    hard = results.agreement(12, 0.654)
    found = results.calibration_metrics({"tuned": tuned}, matched=20, stale=3, hard=hard)
    write_judged(root, LLAMA, scores(60.0, 4), calibration=found)
    assert summary.text(root).splitlines()[10:12] == [
        "            calibrated   40.5 of 100 points [30.2, 50.8]   by 20 human labels, 3 of other answers left out",
        "                       r 0.65 with them on the 12 answers not equal to the reference",
    ]
    write_judged(
        root,
        LLAMA,
        scores(60.0, 4),
        calibration=results.calibration_metrics({"tuned": results.calibrated(60.0, None, None, n=4)}, matched=4),
    )
    assert "            calibrated  not: 4 human labels are too few" in summary.text(root).splitlines()


def test_labels_of_other_answers_give_no_mean_and_the_summary_says_why(root: Path) -> None:
    fill(root)
    why = "38 of 50 labels are of other answers: grade again: python -m flows.grade ."
    none = results.interval(None, None).model_copy(update={"method": f"none: {why}"})
    tuned = results.calibrated(60.0, None, none, n=12).model_copy(update={"stale": 38})
    write_judged(
        root, LLAMA, scores(60.0, 4), calibration=results.calibration_metrics({"tuned": tuned}, matched=12, stale=38)
    )
    assert f"            calibrated  not: {why}" in summary.text(root).splitlines()


def test_a_mean_of_human_labels_alone_says_that_the_judge_is_not_used(root: Path) -> None:
    fill(root)
    tuned = results.calibrated(60.0, 40.5, results.interval(30.25, 50.75), n=40, helps=False)
    base = results.calibrated(50.0, 58.0, results.interval(47.0, 69.0), n=40)
    found = results.calibration_metrics(
        {"tuned": tuned, "base": base}, matched=80, difference=results.interval(-30.0, -5.0)
    )
    write_judged(root, LLAMA, scores(60.0, 4), calibration=found)
    assert summary.text(root).splitlines()[10:13] == [
        "            graded       40.5 of 100 points [30.2, 50.8]   by 40 human labels",
        "                        -17.5 points [-30.0, -5.0]   from before, by human labels",
        "                       the judge's scores predict no labels, and are not used: believe this, not its means",
    ]


def test_no_score_at_all_is_said(root: Path) -> None:
    fill(root)
    write_judged(root, REFERENCE, scores(None, 0))
    assert "            fine-tuned no score   0 scored, 4 invalid, 0 failed" in summary.text(root).splitlines()


def test_as_a_program_it_prints_and_a_broken_file_is_one_message(root: Path) -> None:
    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stages.running.summary"]
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "utf-8"}
        return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)

    assert run().stdout.startswith("profile     quick\n")
    (root / SPLIT_METRICS).parent.mkdir(parents=True)
    (root / SPLIT_METRICS).write_text("{")
    broken = run()
    assert broken.returncode == 65
    assert "not valid JSON at line 1" in broken.stderr
    assert "Traceback" not in broken.stderr


def test_the_costs_of_another_training_are_not_shown(root: Path):
    fill(root)
    write_history(root, first=10.25)

    assert "tokens/s" not in summary.text(root)
    assert "train loss       10.250" in summary.text(root)


def test_costs_of_a_run_too_short_to_tell_leave_out_what_is_not_known():
    found = results.training_costs(seconds=4.0, peak_memory_bytes=1 << 30)

    assert cost_lines(found) == ["time             4 s; 1.0 GiB at most"]


def test_the_time_of_a_resumed_run_says_which_steps_it_is_of():
    found = results.training_costs(seconds=244.0, steps=162, steps_before=300, seconds_before=300.0)
    of_both = "time             4 min 4 s, for the last 162 of 462 steps; 5 min 0 s for those before; "
    assert cost_lines(found)[0].startswith(of_both)
    unknown = found.model_copy(update={"seconds_before": None})
    assert "for the last 162 of 462 steps; for those before not known; " in cost_lines(unknown)[0]


def test_a_file_of_an_earlier_version_is_a_line_with_the_command_that_makes_it_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(root)
    monkeypatch.chdir(root)
    costs = json.loads(TRAINING_COSTS.read_text())
    write_json(TRAINING_COSTS, costs | {"predicted_seconds": costs.pop("estimated_seconds")})
    write_json(JUDGE_METRICS, {"judge": {"backend": "reference"}})
    lines = summary.text().splitlines()

    told = " ".join(line.strip() for line in lines)
    assert f"{TRAINING_COSTS}: estimated_seconds: missing; to fix it: rm {TRAINING_COSTS}" in told
    assert f"{JUDGE_METRICS}: judge.fingerprint: missing; to fix it: dvc repro judge" in told
    assert "            validation loss  11.000 → 2.500 nats a token (best 2.250 at step 550)" in lines
    assert lines[-1].startswith("            MLflow      not there; ")


_LOCK = """\
schema: '2.0'
stages:
  download:
    cmd: python -m stages.download
    params:
      params.yaml:
        download:
          model:
            weights: scratch
            n_layer: 2
            n_embd: 128
    outs:
    - path: artifacts/download/model
      md5: 0123456789abcdef0123456789abcdef.dir
  split:
    cmd: python -m stages.split
    params:
      params.yaml:
        split:
          seed: 123
    outs:
    - path: artifacts/split/metrics.json
      md5: {split}
"""


def write_lock(root: Path, split: Path) -> None:
    digest = hashlib.md5(split.read_bytes()).hexdigest()
    (root / "dvc.lock").write_text(_LOCK.format(split=digest))


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


def test_values_changed_since_are_named_and_the_model_is_the_one_that_was_made(root: Path):
    write_metrics(root / SPLIT_METRICS, results.split_metrics(all=1059, train=1000, test=4, val=55))
    write_json(root / "artifacts" / "download" / "model" / "config.json", {"n_layer": 2, "n_embd": 128})
    write_lock(root, root / SPLIT_METRICS)
    assert "changed" not in summary.text(root)

    edit(root / "params.yaml", "n_layer: 2", "n_layer: 6")

    assert summary.text(root).splitlines()[:5] == [
        "profile     quick (of params.yaml, which has changed since)",
        "changed     params.yaml has other values now; dvc repro makes results with them",
        "            download.model.n_layer was 2 when these results were made, and is 6 now",
        "data        1,000 train, 4 test and 55 validation rows",
        "model       GPT-2, 2 layers, width 128, from random weights",
    ]


def test_values_of_results_that_are_not_there_have_not_changed(root: Path):
    """A new clone has dvc.lock, and no results."""
    write_metrics(root / SPLIT_METRICS, results.split_metrics(all=3, train=1, test=1, val=1))
    write_lock(root, root / SPLIT_METRICS)
    (root / SPLIT_METRICS).unlink()
    edit(root / "params.yaml", "n_layer: 2", "n_layer: 6")

    assert summary.text(root).splitlines()[:3] == [
        "profile     quick",
        "data        not made yet: dvc repro split",
        "model       GPT-2, 6 layers, width 128, from random weights",
    ]


def test_results_that_dvc_has_not_recorded_are_named(root: Path):
    write_metrics(root / SPLIT_METRICS, results.split_metrics(all=1059, train=1000, test=4, val=55))
    write_lock(root, root / SPLIT_METRICS)
    write_metrics(root / SPLIT_METRICS, results.split_metrics(all=9, train=5, test=2, val=2))

    assert summary.text(root).splitlines()[1:3] == [
        "unrecorded  artifacts/split/metrics.json is not what dvc.lock records; dvc repro split makes it again",
        "data        5 train, 2 test and 2 validation rows",
    ]


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


#: A file of each stage, and the file of an earlier stage that it is made from.
_MADE_FROM: dict[str, tuple[Path, Path | None]] = {
    "split": (SPLIT_METRICS, None),
    "tokenize": (TOKENS_METRICS, SPLIT_METRICS),
    "finetune": (FINETUNE_METRICS, TOKENS_METRICS),
    "generate": (GENERATE_METRICS, FINETUNE_METRICS),
    "judge": (JUDGE_METRICS, GENERATE_METRICS),
}


def write_whole_lock(root: Path, *stages: str) -> None:
    """DVC's record of these stages, by default of all, with the values of params.yaml; other entries stay."""
    path = root / "dvc.lock"
    lock = json.loads(path.read_text()) if path.exists() else {"schema": "2.0", "stages": {}}
    values = YAML(typ="safe").load(root / "params.yaml")
    for stage in stages or ("download", *_MADE_FROM):
        made, source = _MADE_FROM.get(stage, (None, None))
        outs = [made] if made else []
        deps = [source] if source else []
        lock["stages"][stage] = {
            "params": {"params.yaml": {stage: values[stage]}},
            "deps": [{"path": str(one), "md5": md5(root / one)} for one in deps],
            "outs": [{"path": str(one), "md5": md5(root / one)} for one in outs],
        }
    path.write_text(json.dumps(lock))


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def committed(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose stages have all run with the values of its last commit, without MLflow."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    fill(root)
    write_json(root / TOKENS_METRICS, {})
    write_json(root / "artifacts/download/model/config.json", {"n_layer": 2, "n_embd": 128})
    git(root, "init", "-q")
    git(root, "add", "params.yaml")
    git(root, "commit", "-q", "-m", "values")
    write_whole_lock(root)
    return root


def part(root: Path, *names: str) -> list[str]:
    """The lines of a summary with these names in the margin."""
    found: list[str] = []
    margin = ""
    for line in summary.text(root).splitlines():
        margin = line[:12].strip() or margin
        if margin in names:
            found.append(line)
    return found


LORA = {"finetune": {"lora": {"rank": 2, "alpha": 2, "targets": ["c_attn"]}}}
COMMIT = re.compile(r"\b[0-9a-f]{7}\b")


MADE_WITH = """\
values      other than in the last commit, COMMIT (its value in brackets): tokenize.prompt_style=phi3 (alpaca),
              finetune.epochs=20 (3), finetune.learning_rate=0.002 (0.005),
              finetune.lora={"rank": 16, "alpha": 16, "targets": ["c_attn"]} (null), finetune.patience=1 (null)
prompt      style phi3, 256 tokens at most; loss on the tokens of the response
training    660 steps (16.1 epochs), 0 tokens, fp32, on the CPU
            learning rate    0.002, cosine after 50 warmup steps
            LoRA             rank 16, alpha 16, on c_attn; 65,536 of 6,862,464 parameters trained (0.95 %)
            left out         16 rows of each epoch (drop_last), other ones each time
            stopped early    at step 660 of 820: no lower validation loss in 1 evaluation
            kept weights     those of step 550
            validation loss  0.000 → 2.250 nats a token (best 2.250 at step 550)
            time             1 min 5 s, estimated 58 s; first step after 6 s; 1.5 GiB at most
            speed            6,250 tokens/s, HFU 42 % of 0.15 TFLOP/s measured here
warning     LoRA over random weights: all but its small updates stays random, and nothing can be learnt from that; set
              finetune.lora: null, or download.model.weights: hub or folder"""


def test_what_made_the_run_is_told(committed: Path) -> None:
    lora = {"rank": 16, "alpha": 16, "targets": ["c_attn"]}
    recipe = {"learning_rate": 0.002, "patience": 1, "epochs": 20, "lora": lora}
    small_pipeline.write_params(committed, {"tokenize": {"prompt_style": "phi3"}, "finetune": recipe})
    found = results.finetune_metrics(
        parameters=6862464,
        trained_parameters=65536,
        precision="fp32",
        steps=660,
        epochs=11,
        val_loss=2.25,
        kept_step=550,
        best_val_loss=2.25,
        best_step=550,
        rows_train=1000,
    )
    write_metrics(committed / FINETUNE_METRICS, found)
    write_whole_lock(committed)

    found_lines = part(committed, "values", "prompt", "training", "warning")
    assert [COMMIT.sub("COMMIT", line) for line in found_lines] == MADE_WITH.splitlines()


def test_values_as_committed_are_said_to_be_those(committed: Path) -> None:
    assert [COMMIT.sub("COMMIT", line) for line in part(committed, "values", "data", "prompt")] == [
        "values      those of the last commit, COMMIT",
        "data        data/instructions.json: 1,000 train, 4 test and 55 validation rows",
        "prompt      style alpaca, 256 tokens at most; loss on the tokens of the response",
    ]
    assert "warning" not in summary.text(committed)


def test_rows_that_were_left_out_are_counted_beside_the_data(committed: Path) -> None:
    left = {"count": 12, "rows": []}
    write_json(committed / LEFT_OUT, {"rows_of_the_file": 1071, "rows_of_the_dataset": 1059, "left_out": left})

    assert part(committed, "data") == [
        "data        data/instructions.json: 1,000 train, 4 test and 55 validation rows",
        "            12 of 1,071 rows were left out, which cannot be used: left_out.json names them",
    ]


def test_figures_stand_beside_the_values_that_made_them_whatever_params_yaml_says(committed: Path) -> None:
    before = part(committed, "data", "prompt", "model", "training", "score", "values")
    others = {"download": {"model": {"n_layer": 12}}, "finetune": {"batch_size": 2}}
    small_pipeline.write_params(committed, others)

    assert part(committed, "data", "prompt", "model", "training", "score", "values") == before
    assert part(committed, "profile", "changed") == [
        "profile     quick (of params.yaml, which has changed since)",
        "changed     params.yaml has other values now; dvc repro makes results with them",
        "            download.model.n_layer was 2 when these results were made, and is 12 now",
        "            finetune.batch_size was 24 when these results were made, and is 2 now",
    ]


def test_lora_set_since_is_a_change(committed: Path) -> None:
    small_pipeline.write_params(committed, LORA)

    changed = " ".join(" ".join(part(committed, "changed")).split())
    assert 'finetune.lora was null when these results were made, and is {"rank": 2,' in changed


def test_scores_of_an_earlier_training_are_not_shown_beside_a_new_one(committed: Path) -> None:
    """As after a failure of the stage generate: DVC has recorded the new training, and the old answers are there."""
    write_metrics(committed / FINETUNE_METRICS, results.finetune_metrics(steps=7))
    write_whole_lock(committed, "finetune")

    text = summary.text(committed)
    assert part(committed, "outdated") == [
        "outdated    generate, judge: stages before have run again since; dvc repro brings all up to date"
    ]
    assert part(committed, "score", "answers") == [
        "score       of an earlier finetune than the one here: dvc repro judge",
        "answers     of an earlier finetune than the one here: dvc repro generate",
    ]
    assert "example" not in text
    assert "7 steps" in text


def test_the_stage_that_is_ending_is_recorded_next(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under `dvc repro` the judge prints the summary, and dvc.lock has the judge of the run before."""
    small_pipeline.write_params(committed, {"judge": {"bootstrap_resamples": 500}})
    write_judged(committed, LLAMA, scores(51.25, 4))
    monkeypatch.chdir(committed)
    monkeypatch.setenv("DVC_STAGE", "judge")

    summary.tell(stands=True, commit_tried=True)

    told = capsys.readouterr().out
    assert "changed" not in told
    assert "unrecorded" not in told
    assert "judge.bootstrap_resamples=500 (10000)" in told
    assert "51.2 of 100 points" in told


@pytest.mark.parametrize("weights", ["scratch", "folder"])
def test_lora_over_random_weights_warns(committed: Path, weights: str) -> None:
    small_pipeline.write_params(committed, LORA | {"download": {"model": {"weights": weights, "repo": "data/mine"}}})
    write_whole_lock(committed)

    warned = " ".join(part(committed, "warning"))
    assert ("LoRA over random weights" in warned) == (weights == "scratch")


def test_no_figure_is_minus_zero(root: Path) -> None:
    fill(root)
    nothing = Mean(n=3, mean=-0.0, interval=results.interval(-0.04, -0.01))
    write_judged(root, REFERENCE, scores(-0.0, 3, {"a": -0.0, "b": -0.2}), base=scores(-0.01, 4), difference=nothing)
    hard = results.agreement(12, -0.001)
    tuned = results.calibrated(0.0, -0.0, results.interval(-0.04, 0.0), n=20)
    found = results.calibration_metrics({"tuned": tuned}, matched=20, hard=hard)
    text = summary.text(root)
    write_judged(root, LLAMA, scores(0.0, 3), calibration=found)

    assert re.findall(r"-0\.0*\b(?![1-9])|-0\b", text + summary.text(root)) == []
    assert "difference   +0.0 points [+0.0, +0.0]" in text


def test_a_stage_that_dvc_runs_tells_of_its_own_results_as_of_those_that_are_recorded_next(root: Path):
    """DVC writes dvc.lock when the stage has ended: until then it holds another success, with other values."""
    shutil.copy(ROOT / "dvc.yaml", root)
    write_metrics(root / SPLIT_METRICS, results.split_metrics(all=1059, train=1000, test=4, val=55))
    write_lock(root, root / SPLIT_METRICS)
    write_metrics(root / SPLIT_METRICS, results.split_metrics(all=9, train=5, test=2, val=2))
    small_pipeline.write_params(root, {"split": {"seed": 124}})
    stage = "from stages.running import held, summary; held.hold('split'); summary.tell(stands=True, commit_tried=True)"

    def told(**variables: str) -> list[str]:
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
        command = [sys.executable, "-c", stage]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert told(DVC_STAGE="split")[:2] == ["profile     quick", "data        5 train, 2 test and 2 validation rows"]
    assert told()[1].startswith("unrecorded  artifacts/split/metrics.json is not what dvc.lock records")


def test_a_summary_for_a_narrower_page_breaks_its_lines_and_no_word() -> None:
    summary = "\n".join(
        [
            "values      those of the last commit",
            "score       mean of the answers, by the built-in judge",
            "            before        0.0 of 100 points   190 scored",
            "            best: capitals 15 of 15 right, truths 4 of 4",
            "              and 15 more with 0 right, which are many",
            "compare     http://127.0.0.1:5000/#/experiments/1/runs",
        ]
    )
    assert narrowed(summary, 40).splitlines() == [
        "values      those of the last commit",
        "score       mean of the answers, by the",
        "              built-in judge",
        "            before        0.0 of 100",
        "                          points   190",
        "                          scored",
        "            best: capitals 15 of 15",
        "              right, truths 4 of 4",
        "              and 15 more with 0 right,",
        "              which are many",
        "compare     http://127.0.0.1:5000/#/experiments/1/runs",
    ]
