"""Comparing runs: the statistics by hand and against scipy, and every way to name a run."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from stages.common.errors import ConfigError, DataError, TemporaryFailure
from stages.common.files import write_json
from stages.common.metrics.judge import JudgeIdentity
from stages.common.records import write_records
from stages.common.results.judge import JUDGE_FOLDER, JUDGE_METRICS, VERDICTS, Verdict
from stages.judge.runs import compare as program
from stages.judge.runs.comparison import Comparison, compare, compare_all, holm, permutation_p
from stages.judge.runs.group import of_runs
from stages.judge.runs.results import compare_groups
from stages.judge.runs.sources import NotHere, Run, find_run
from stages.judge.runs.table import table
from stages.judge.scores.bootstrap import standard_error
from tests.root import ROOT

JUDGE = JudgeIdentity(fingerprint="1" * 32, backend="reference")


def verdicts(*scores, clusters=None, model="tuned"):
    """A row for each score; None is invalid. Clusters are the rows' instructions, each its own unless said."""
    return [
        Verdict(
            id=f"r{index}",
            model=model,
            status="invalid" if value is None else "scored",
            score=None if value is None else float(value),
            detail="",
            cluster=clusters[index] if clusters else f"c{index}",
        )
        for index, value in enumerate(scores)
    ]


def test_a_comparison_worked_by_hand():
    """Differences 10, 20, 30 and 0 in three instructions, of which the first two rows share one."""
    a = verdicts(50, 50, 50, 50, 90, clusters=["x", "x", "y", "z", "z"])
    b = verdicts(60, 70, 80, 50, None, clusters=["x", "x", "y", "z", "z"])
    found = compare(a, b[::-1], resamples=200, seed=1)
    assert (found.n, found.left_out, found.clusters) == (4, 1, 3)
    assert (found.mean_a, found.mean_b, found.difference) == (50, 65, 15)
    assert (found.wins, found.ties, found.losses) == (3, 1, 0)
    # cluster sums 30, 30 and 0: of the 8 ways to turn them round, those with the first two alike are as far out
    assert found.p == 0.5
    # residuals of the sums from size x 15: 0, 15, -15; sqrt(3 / 2 x 450) / 4 rows
    assert standard_error(np.array([30.0, 30, 0]), np.array([2.0, 1, 1])) == pytest.approx(np.sqrt(1.5 * 450) / 4)
    assert found.detectable is None  # three instructions can give no p-value below 0.25
    assert found.verdict == "no detectable difference"


def test_right_answers_stand_beside_one_another():
    """Of the rows of which both judges say whether they are right; one is not known in B."""
    a, b = verdicts(100, 0, 0, 0), verdicts(100, 100, 0, 0)
    a = [one.model_copy(update={"right": one.score == 100}) for one in a]
    b = [one.model_copy(update={"right": None if one.id == "r3" else one.score == 100}) for one in b]
    found = compare(a, b, resamples=100, seed=1)
    assert (found.right_of, found.right_a, found.right_b) == (3, 1, 2)
    assert "\nright       A 1, B 2 of 3 answers\n" in told(a=a, b=b)
    assert compare(verdicts(1, 2), verdicts(3, 4), resamples=100, seed=1).right_of is None


def test_right_answers_of_groups_are_the_mean_of_their_trainings():
    """A has 1 and 2 right answers, B 2 and 2, of the three rows that are known in all four runs; one is not in one."""
    counts = {"a1": (1, 0, 0, 0), "a2": (1, 1, 0, 1), "b1": (1, 1, 0, 1), "b2": (0, 1, 1, None)}
    runs = {
        name: [
            one.model_copy(update={"right": None if right is None else bool(right)})
            for one, right in zip(verdicts(50, 60, 70, 80), rights, strict=True)
        ]
        for name, rights in counts.items()
    }
    found = compare_all([runs["a1"], runs["a2"]], [runs["b1"], runs["b2"]], resamples=100, seed=1, together=1)
    assert (found.right_of, found.right_a, found.right_b) == (3, 1.5, 2.0)
    groups = [of_runs(letter, [Run(f"{letter}{n}", JUDGE, runs[f"{letter}{n}"]) for n in (1, 2)]) for letter in "ab"]
    text = table(compare_groups(groups, model="tuned", resamples=100, seed=1))
    assert "\nright       A 1.5, B 2 of 3 answers, the mean of the trainings\n" in text


def test_rows_of_one_instruction_are_not_independent():
    """Twenty rows, better by 10 or worse by 2: alone each counts, as two instructions they say nothing."""
    a, b = [50] * 20, [60] * 15 + [48] * 5
    alone = compare(verdicts(*a), verdicts(*b), resamples=2000)
    together = [f"c{int(index >= 15)}" for index in range(20)]
    clustered = compare(verdicts(*a, clusters=together), verdicts(*b, clusters=together), resamples=2000)
    assert (alone.verdict, clustered.verdict) == ("B is better", "no detectable difference")
    assert (clustered.low, clustered.high) == (None, None)
    assert clustered.p == 1.0  # 150 - 10, and none of the four ways is less far out
    assert compare(verdicts(*b), verdicts(*a), resamples=2000).verdict == "A is better"


def test_with_one_row_an_instruction_the_error_is_the_textbook_s():
    values = np.random.default_rng(7).normal(5, 20, 110)
    assert standard_error(values, np.ones(110)) == pytest.approx(stats.sem(values))


def test_the_permutation_test_is_scipy_s():
    values = np.random.default_rng(3).normal(1, 2, 12)

    def p_of_scipy(resamples):
        return stats.permutation_test(
            (values, np.zeros_like(values)),
            lambda x, y, axis: np.mean(x - y, axis=axis),
            permutation_type="samples",
            n_resamples=resamples,
            vectorized=True,
            rng=np.random.default_rng(1),
        ).pvalue

    assert permutation_p(values, resamples=1, seed=1) == pytest.approx(p_of_scipy(np.inf))
    more = np.concatenate([values, values[:8] * 0.5])
    drawn = permutation_p(more, resamples=20_000, seed=1)
    every = [np.abs(more @ signs) for signs in np.random.default_rng(9).choice([-1, 1], (200_000, 20))]
    assert drawn == pytest.approx(np.mean(np.array(every) >= abs(more.sum())), abs=0.01)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("scores", [[], [50]])
def test_too_few_rows_say_so(scores):
    found = compare(verdicts(*scores), verdicts(*scores))
    assert (found.p, found.low, found.detectable) == (None, None, None)
    assert found.verdict == "too few rows to compare"


def test_equal_runs_are_said_to_be_identical_and_nothing_is_said_of_what_would_be_found():
    found = compare(verdicts(1, 2, 3), verdicts(1, 2, 3))
    assert (found.difference, found.p, found.ties, found.detectable) == (0, 1.0, 3, None)
    assert found.verdict == "identical scores"
    # A difference of 100 either way in less than 1 - 0.025 ** (1 / 3) of the instructions would not have come.
    unseen = 100 * (1 - 0.025 ** (1 / 3))
    assert (found.low, found.high) == pytest.approx((-unseen, unseen))
    assert found.method.startswith("exact")


@pytest.mark.parametrize(("count", "known"), [(2, False), (5, False), (6, True), (30, True)])
def test_where_no_p_value_can_be_small_nothing_is_said_of_what_would_be_found(count, known):
    """With five instructions the smallest possible p-value is 2 / 2^5 = 0.0625."""
    scores = np.arange(count) * 1.0
    found = compare(verdicts(*scores), verdicts(*(scores + 10 + scores % 3)))
    assert found.p >= 2.0 ** (1 - count)
    assert (found.detectable is not None) == known
    assert (found.verdict == "B is better") == known
    # Of two comparisons made together the first has to reach 2.5 %, and six instructions give 2 / 2^6 = 0.031.
    together = compare(verdicts(*scores), verdicts(*(scores + 10 + scores % 3)), together=2)
    assert (together.detectable is not None) == (count == 30)


def test_a_p_value_is_never_0():
    """Of 100 ways that are drawn none is as far out as what was seen, which is one of the ways itself."""
    found = compare(verdicts(*range(40)), verdicts(*(range(30, 70))), resamples=100)
    assert found.p == pytest.approx(1 / 101)
    assert permutation_p(np.array([1.0, 2.0]), resamples=1, seed=1) == 0.5
    assert permutation_p(np.full(14, 5.0), resamples=1, seed=1) == 2 / 2**14


def test_a_constant_difference_is_not_known_without_error():
    found = compare(verdicts(*[50] * 20), verdicts(*[60] * 20))
    unseen = 1 - 0.025 ** (1 / 20)
    assert (found.low, found.high) == pytest.approx((10 - 110 * unseen, 10 + 90 * unseen))
    assert (found.detectable, found.verdict) == (None, "B is better")


def test_the_detectable_difference_allows_for_comparisons_made_together():
    """Of three the first to be found has to reach 5 % / 3."""
    a, b = verdicts(*range(0, 90, 3)), verdicts(*[70 - score for score in range(0, 60, 2)])
    alone, together = (compare(a, b, resamples=100, together=count).detectable for count in (1, 3))
    quantiles = [stats.norm.ppf(1 - 0.025 / count) + stats.norm.ppf(0.8) for count in (1, 3)]
    assert together / alone == pytest.approx(quantiles[1] / quantiles[0])


def test_rows_of_one_run_alone_are_counted():
    found = compare(verdicts(1, 2, 3, 4), verdicts(5, 6)[:1] + verdicts(1, 2, 3, 4, 5, 6)[4:])
    assert (found.n, found.only_in_a, found.only_in_b) == (1, 3, 2)


def told(**runs):
    """The comparison of two runs as text."""
    return compared([Run(name, JUDGE, rows) for name, rows in runs.items()])


def compared(runs):
    groups = [of_runs(run.name, [run]) for run in runs]
    return table(compare_groups(groups, model="tuned", resamples=100, seed=1))


def test_rows_of_one_id_and_two_instructions_are_left_out_and_named():
    """As where somebody has numbered the rows of two datasets."""
    there = verdicts(1, 2, 3, 4, clusters=["x", "y", "z", ""])
    here = verdicts(5, 6, 7, 8, clusters=["x", "w", "v", "u"])
    found = compare(there, here)
    assert (found.n, found.another_row, found.left_out, found.only_in_a, found.only_in_b) == (2, ("r1", "r2"), 0, 0, 0)
    assert found.difference == 4
    text = told(there=there, here=here)
    assert "of 2 instructions; left out: 2 with another instruction in B (r1, r2)\n" in text
    many = [verdicts(*range(9), clusters=[f"{run}{index}" for index in range(9)]) for run in "ab"]
    text = told(a=many[0], b=many[1])
    assert "rows        0 scored in both, of 0 instructions; left out: 9 with another" in text
    assert "(r0, r1, r2, r3, r4, ...)\nresult      not comparable: other test rows; 0 rows are in both" in text


def test_a_difference_of_less_than_a_tenth_has_no_sign_of_its_own():
    text = told(a=verdicts(*[50.0] * 20), b=verdicts(*[49.99, 49.98] * 10))
    assert "B minus A   +0.0 [+0.0, +0.0]" in text
    assert "-0.0" not in text


def test_a_line_that_is_too_long_is_broken_under_its_text():
    other = JudgeIdentity(fingerprint="2" * 32, backend="ollama", model="m" * 60)
    runs = [Run("a", JUDGE, verdicts(1, 2, 3)), Run("b", other, verdicts(2, 3, 4))]
    lines = compared(runs).splitlines()
    assert max(map(len, lines)) <= 120
    warned = next(index for index, line in enumerate(lines) if line.startswith("judges"))
    assert lines[warned + 1].startswith(" " * 12)
    assert lines[warned + 1].strip() != ""


def test_a_comparison_is_the_same_again():
    a, b = verdicts(*range(0, 90, 3)), verdicts(*[70 - score for score in range(0, 60, 2)])
    assert compare(a, b, resamples=500) == compare(a, b, resamples=500)


def write(folder, scores, judge=JUDGE):
    """The stage's two files, as a comparison reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    write_records(folder / "verdicts.jsonl", verdicts(*scores))
    write_json(folder / "metrics.json", {"judge": judge.model_dump()})


@pytest.mark.parametrize("name", ["run", "run/artifacts", "run/artifacts/judge", "run/artifacts/judge/verdicts.jsonl"])
def test_a_run_in_a_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "run" / JUDGE_FOLDER, [10, 20])
    found = find_run(name)
    assert [verdict.score for verdict in found.of("tuned")] == [10, 20]
    assert found.judge == JUDGE
    with pytest.raises(ConfigError, match="no verdicts on the model base; it has tuned"):
        found.of("base")


def git(*arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(scores):
    """Commit a dvc.lock, with the files that it names in DVC's cache and nowhere else."""
    write(JUDGE_FOLDER, scores)
    outs = []
    for path in (VERDICTS, JUDGE_METRICS):
        digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        kept = Path(".dvc/cache/files/md5") / digest[:2] / digest[2:]
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, kept)
        outs.append({"path": path.as_posix(), "md5": digest})
    write_json(Path("dvc.lock"), {"stages": {"judge": {"cmd": "x", "outs": outs}}})
    git("add", "dvc.lock")
    git("commit", "-m", "a run")
    return git("rev-parse", "HEAD")


def test_a_run_in_git_and_an_experiment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    commit([10, 20])
    second = commit([30, 40])
    git("update-ref", f"refs/exps/{second[:2]}/{second[2:]}/tidy-moth", commit([50, 60]))
    git("reset", "--hard", "-q", second)

    def scores(name):
        return [verdict.score for verdict in find_run(name).of("tuned")]

    assert [find_run(name).name for name in ("HEAD", second[:9])] == [f"HEAD ({second[:7]})", second[:9]]
    assert (scores("HEAD"), scores("HEAD~1"), scores("tidy-moth")) == ([30, 40], [10, 20], [50, 60])
    shutil.rmtree(".dvc/cache")
    with pytest.raises(
        NotHere, match=r"HEAD \(\w{7}\): its results are not in DVC's cache.* another machine\n"
    ) as told:
        find_run("HEAD")
    assert ".dvc/cache" not in str(told.value)
    assert "git checkout" not in str(told.value)
    assert "git commit -am 'My first run' makes the results here the baseline" in str(told.value)
    with pytest.raises(NotHere) as older:
        find_run("HEAD~1")
    assert older.value.fix == (
        "python -m flows.publish 'HEAD~1', where a remote has them; or name a run: make runs lists them"
    )
    git("rm", "-q", "dvc.lock")
    git("commit", "-m", "nothing run")
    with pytest.raises(DataError, match="HEAD: no results of the stage judge"):
        find_run("HEAD")
    with pytest.raises(ConfigError, match="nowhere: no such folder, git revision, DVC experiment or MLflow run"):
        find_run("nowhere")


def test_the_results_in_the_folder_stand_in_for_a_commit_of_another_machine(tmp_path, monkeypatch, capsys):
    """As in a fresh clone after two runs: the second is in a copy of the repository."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    commit([10] * 10)
    shutil.rmtree(".dvc/cache")
    write(JUDGE_FOLDER, [50] * 10)
    write(tmp_path / "copy" / JUDGE_FOLDER, [60] * 10)

    out = run(monkeypatch, capsys, "HEAD", "copy", "--resamples", "100")

    head = f"HEAD ({git('rev-parse', 'HEAD')[:7]})"
    assert out.startswith(f"note: {head}: its results are not in DVC's cache, such as those of another machine\n")
    assert f"\n  compared with the results in the folder, in place of {head}\n" in out
    assert f"\n\nA the results in the folder, in place of {head}\nB copy\n" in out
    assert "B minus A   +10.0" in out
    with pytest.raises(NotHere, match="HEAD"):  # nothing but these results
        run(monkeypatch, capsys, "HEAD", "artifacts")


@pytest.mark.slow  # MLflow makes a database
def test_the_last_run_of_mlflow_with_other_scores_stands_in_for_a_commit_of_another_machine(
    tmp_path, monkeypatch, capsys
):
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    git("init", "-q")
    commit([10] * 10)
    shutil.rmtree(".dvc/cache")
    client = MlflowClient()
    experiment = client.create_experiment("instruct-pipeline/quick", artifact_location=(tmp_path / "kept").as_uri())
    for name, scores, status in (
        ("old", [20] * 10, "FINISHED"),
        ("before", [40] * 10, "FINISHED"),
        ("failed", [45] * 10, "FAILED"),
        ("empty", None, "FINISHED"),
        ("this", [50] * 10, "FINISHED"),
    ):
        run_id = client.create_run(experiment, run_name=name).info.run_id
        if scores:
            write(JUDGE_FOLDER, scores)
            for path in JUDGE_FOLDER.iterdir():
                client.log_artifact(run_id, str(path), "judge")
        client.set_terminated(run_id, status)

    out = run(monkeypatch, capsys, "HEAD", "artifacts", "--resamples", "100")

    assert f"A before of MLflow, in place of HEAD ({git('rev-parse', 'HEAD')[:7]})\nB artifacts\n" in out
    assert "B minus A   +10.0" in out


@pytest.mark.slow  # MLflow makes a database
def test_a_run_in_mlflow(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    write(tmp_path / "files", [10, 20])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    client = MlflowClient()
    experiment = client.create_experiment("one", artifact_location=(tmp_path / "kept").as_uri())
    runs = [client.create_run(experiment, run_name=name).info.run_id for name in ("full", "empty")]
    for path in (tmp_path / "files").iterdir():
        client.log_artifact(runs[0], str(path), "judge")
    for name in (runs[0], "full"):
        assert [verdict.score for verdict in find_run(name).of("tuned")] == [10, 20]
    client.set_terminated(runs[1], "FINISHED")
    with pytest.raises(ConfigError, match=r"MLflow run empty: it does not hold judge/verdicts.jsonl"):
        find_run("empty")
    with pytest.raises(ConfigError, match="no such folder"):
        find_run("it's not there")


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["compare", *arguments])
    program.main()
    return capsys.readouterr().out


def test_what_is_printed_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(Path("a"), [50] * 10)
    write(Path("b"), [60] * 8 + [50, 40])
    write(Path("c"), [50] * 10, judge=JudgeIdentity(fingerprint="2" * 32, backend="ollama"))
    write_records(Path("a/verdicts.jsonl"), [*verdicts(*[50] * 10, 20), *verdicts(1, model="base")])
    out = run(monkeypatch, capsys, "a", "b", "c", "--as", "the third", "--json", "found.json", "--figure", "found.png")
    first, second = out.split("\n\n")
    # 2 x 10 of the 2 ** 9 ways to turn the nine differences round are as far from 0 as 70 points: all, or all but one
    assert "rows        10 scored in both, of 10 instructions; left out: 1 in A alone\n" in first
    # Scores of two judges are no comparison, for which Holm would have to allow.
    assert "p           0.0391, 0.0391 by Holm over 2 (permutation test)" in first
    assert "B minus A   +7.0 [" in first
    assert "row by row  B better 8, equal 1, A better 1" in first
    assert "result      B scores higher: b; one training each: training seeds are not allowed for" in first
    assert "judges" not in first
    assert "judges      backend reference / ollama; score both runs by one judge" in second
    found = json.loads(Path("found.json").read_text())
    assert list(found) == ["a", "model", "comparisons"]
    assert found["a"] == {"name": "a", "judge": JUDGE.model_dump(), "runs": ["a"], "seeds": [], "known": []}
    keys = ["b", "same_judge", "verdict", "rests_on", *Comparison.model_fields, "faults"]
    assert list(found["comparisons"][0]) == keys
    assert [one["same_judge"] for one in found["comparisons"]] == [True, False]
    assert found["comparisons"][0]["p_holm"] == pytest.approx(20 / 512, abs=1e-6)
    assert Path("found.png").read_bytes().startswith(b"\x89PNG")
    assert second.startswith("A a\nB the third\n")
    assert second.splitlines()[-2] == "result      not comparable: two judges"
    assert not any(line.startswith(("p ", "detectable")) for line in second.splitlines())
    assert [one["verdict"] for one in found["comparisons"]] == ["B scores higher", "not comparable: two judges"]
    assert [found["comparisons"][1][name] for name in ("low", "high", "p", "p_holm", "detectable")] == [None] * 5
    assert found["comparisons"][1]["b"]["name"] == "the third"
    assert "by Holm" not in run(monkeypatch, capsys, "a", "b")


def test_runs_with_the_same_verdicts_are_identical_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        write(Path(name), [10, 30])
    *names, result = run(monkeypatch, capsys, "a", "b").splitlines()
    assert names == ["A a", "B b"]
    told, mean = result.split("; ")
    assert told == "result      identical: 2 verdicts of one judge, with the same scores, details and faults"
    assert mean == "mean 20.0 of 100 points"
    rows = [row.model_copy(update={"faults": ["echo"]}) for row in verdicts(10, 30)]
    write_records(Path("b", "verdicts.jsonl"), rows)  # the same scores, of answers with other faults
    out = run(monkeypatch, capsys, "a", "b")
    assert "result      identical scores; one training each: training seeds are not allowed for\n" in out
    assert "echo             0 → 2 answers" in out


def test_identical_is_said_of_single_runs_alone_and_with_what_is_noted_of_them():
    same = verdicts(10, 30)
    runs = [Run(name, JUDGE, same, {}, "") for name in "abcd"]
    single, several = replace(of_runs("a", runs[:1]), notes=("as it was given",)), of_runs("b c", runs[1:3])
    found = compare_groups([single, several, of_runs("d", runs[3:])], model="tuned", resamples=100, seed=1)
    assert [one.identical for one in found] == [False, True]
    blocks = table(found).split("\n\n")
    assert "identical:" not in blocks[0]
    assert blocks[1].strip().splitlines() == [
        "A a",
        "B d",
        "note        A: as it was given",
        "result      identical: 2 verdicts of one judge, with the same scores, details and faults; "
        "mean 20.0 of 100 points",
    ]
    other = JudgeIdentity(fingerprint="2" * 32, backend="ollama")
    by_two = [of_runs("a", runs[:1]), of_runs("e", [Run("e", other, same)])]
    assert not compare_groups(by_two, model="tuned", resamples=100, seed=1)[0].identical


def test_a_folder_at_work_stands_in_for_no_commit_of_another_machine(tmp_path, monkeypatch):
    """While DVC runs the judge, the verdicts are gone; the commit's error stays the one that is told."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    commit([10] * 10)
    shutil.rmtree(".dvc/cache")
    JUDGE_FOLDER.mkdir(parents=True, exist_ok=True)
    Path(".dvc/tmp").mkdir()
    writer = {str(tmp_path / VERDICTS): {"pid": os.getppid(), "cmd": "dvc repro"}}
    write_json(Path(".dvc/tmp/rwlock"), {"read": {}, "write": writer})
    with pytest.raises(TemporaryFailure, match="judge is at work"):
        find_run("artifacts")
    write(tmp_path / "copy" / JUDGE_FOLDER, [60] * 10)
    monkeypatch.setattr("sys.argv", ["compare", "HEAD", "copy"])
    with pytest.raises(NotHere, match="HEAD"):
        program.main()


def test_what_faults_cost_either_run_is_set_beside_one_another(tmp_path, monkeypatch, capsys):
    """Of four answers each: two misspelt, 20 and 40 points short, then one, 20 short; and one echo in either."""
    monkeypatch.chdir(tmp_path)
    for name, scores, wrong in (
        ("a", [80, 60, 100, 0], [["misspelling"], ["misspelling"], [], ["echo"]]),
        ("b", [80, 90, 100, 0], [["misspelling"], ["too long"], [], ["echo"]]),
    ):
        write(Path(name), scores)
        rows = zip(verdicts(*scores), wrong, strict=True)
        write_records(Path(name, "verdicts.jsonl"), [row.model_copy(update={"faults": found}) for row, found in rows])
    out = run(monkeypatch, capsys, "a", "b", "--json", "found.json")
    assert out.splitlines()[-2:] == [
        "faults      misspelling      2 → 1 answer, 15.0 → 5.0 points lost",
        "            too long         0 → 1 answer, 0.0 → 2.5 points lost",
    ]
    assert json.loads(Path("found.json").read_text())["comparisons"][0]["faults"]["too long"] == {
        "a": {"n": 0, "points_lost": 0.0},
        "b": {"n": 1, "points_lost": 2.5},
    }


@pytest.mark.parametrize("arguments", [["--resamples", "0"], ["--resamples", "x"], ["--seed", "-1"]])
def test_a_number_that_cannot_be_is_said(monkeypatch, capsys, arguments):
    with pytest.raises(ConfigError, match="expected a whole number of at least") as caught:
        run(monkeypatch, capsys, "a", "b", *arguments)
    assert caught.value.what.startswith(f"{arguments[0]}: ")


@pytest.mark.parametrize("metrics", [{"rows": 3}, [], {"judge": "llama3"}])
def test_a_folder_of_another_stage_is_said(tmp_path, metrics):
    write(tmp_path, [10])
    write_json(tmp_path / "metrics.json", metrics)
    with pytest.raises(DataError, match=r"metrics.json: no judge in it, so it is not of the stage judge"):
        find_run(str(tmp_path))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
def test_in_a_repository_of_another_owner_the_command_that_allows_it_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    commit([10, 20])
    for path in (tmp_path, tmp_path / ".git"):
        os.chown(path, 12345, 12345)
    with pytest.raises(ConfigError, match=r"HEAD: not found; .* belongs to another user") as caught:
        find_run("HEAD")
    assert caught.value.fix == f"git config --global --add safe.directory {tmp_path}"


def test_a_name_that_is_no_run_ends_without_a_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "stages.judge.runs.compare", "no-such-run", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78
    assert done.stderr.startswith("compare: no-such-run: no such folder, git revision")
