"""Answers of a stored run, scored again: to the same bytes by the same judge, by another one, its source named."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows import chat
from flows import runs as listing_of_runs
from flows.grading import answers
from stages.common.errors import ConfigError, DataError, ServiceUnavailable, TemporaryFailure
from stages.common.results.download import TOKENIZER
from stages.common.results.generate import RESPONSES
from stages.common.results.judge import JUDGE_METRICS, SCORES, SCORES_CSV, SCORES_PLOT, VERDICTS
from stages.common.results.split import SPLIT_METRICS, split_file
from stages.judge import rescore
from stages.judge.__main__ import main
from stages.judge.runs.sources import find_all, find_run
from stages.params import options
from stages.params.reading import plain, read_yaml
from stages.running import digests, lock
from stages.running.tracking import listing, origins, published, tracker
from tests.fake_ollama import FakeOllama, careful, parts, silent
from tests.judge.runs.test_group import git
from tests.judge.test_stage import configure, folder  # noqa: F401 a fixture
from tests.root import ROOT

RESULTS = (VERDICTS, JUDGE_METRICS, SCORES, SCORES_CSV, SCORES_PLOT)


def again(run, *given, into="again"):
    """Score a run again, and return the folder of the results."""
    found = find_run(run)
    params = rescore.params_of(found, [options.parse(text) for text in given])
    rescore.score_again(found, params, Path(into).absolute(), Path.cwd())
    return Path(into)


def contents(*but):
    """Every file of the working directory with its bytes, but for those in some folders."""
    files = [path for path in Path().rglob("*") if path.is_file() and path.parts[0] not in but]
    return {path: path.read_bytes() for path in files}


def test_the_same_judge_gives_the_same_bytes_and_the_files_of_the_project_stay(folder):  # noqa: F811
    main()
    before = contents()
    found = again("artifacts")
    assert {path: (found / path).read_bytes() for path in RESULTS} == {path: path.read_bytes() for path in RESULTS}
    assert contents("again", ".cache") == before
    assert plain(read_yaml(found / "params.yaml")) == plain(read_yaml(Path("params.yaml")))
    assert find_run(str(found)).judge == find_run("artifacts").judge
    twice = again(str(found), into="twice")
    assert (twice / SCORES).read_bytes() == SCORES.read_bytes()


@pytest.mark.thorough
def test_another_judge_scores_the_same_answers_and_is_asked_once(folder, monkeypatch):  # noqa: F811
    main()
    scores = SCORES.read_bytes()
    with FakeOllama() as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        found = again("artifacts", "judge.backend=ollama", "judge.repeats=1")
        asked = len(server.chats)
        assert asked > 6
        repeated = again("artifacts", "judge.backend=ollama", into="repeated")
        assert len(server.chats) == asked  # the verdicts are those kept in the project's own folder
    assert SCORES.read_bytes() == scores
    headline = json.loads((found / SCORES).read_text())
    assert headline["judge"].startswith("llama3 ")
    assert (repeated / SCORES).read_bytes() == (found / SCORES).read_bytes()
    assert (found / ".cache/judge").resolve() == Path(".cache/judge").resolve()


def test_the_values_are_those_of_the_run_and_not_of_an_edited_file(folder):  # noqa: F811
    main()
    write_lock()
    configure(bootstrap_resamples=777, rubric="book")
    (folder / "dvc.lock").write_text(Path("dvc.lock").read_text())
    params = rescore.params_of(find_run("artifacts"), [("judge.seed", 5)])
    assert (params.judge.bootstrap_resamples, params.judge.seed) == (200, 5)
    Path("dvc.lock").unlink()
    assert rescore.params_of(find_run("artifacts"), []).judge.bootstrap_resamples == 777


def test_answers_that_are_newer_than_the_verdicts_have_no_recipe_and_no_source(folder, monkeypatch):  # noqa: F811
    main()
    write_lock()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    published.keep(Path(), "a" * 32, "calm-otter")
    assert rescore._source(find_run("artifacts"), Path()) == ("a" * 32, "calm-otter")
    RESPONSES.write_text(RESPONSES.read_text().replace("freind", "friend"))
    configure(bootstrap_resamples=777)
    found = find_run("artifacts")
    assert rescore._source(found, Path()) == ("", "artifacts")
    assert rescore.params_of(found, []).judge.bootstrap_resamples == 777
    assert not (again("artifacts") / lock.LOCK).exists()


def test_a_value_that_is_newer_than_the_run_is_the_project_s(folder):  # noqa: F811
    main()
    write_lock()
    tree = plain(read_yaml(lock.LOCK))
    del tree["stages"]["judge"]["params"]["params.yaml"]["judge"]["panel"]
    dump(tree)
    assert rescore.params_of(find_run("artifacts"), []).judge.panel == []


def test_labels_of_people_are_found_from_the_project_s_folder(folder):  # noqa: F811
    rows = [{"id": id, "answer": answer, "score": 50} for id, answer in (("a", "Paris."), ("b", "freind"))] * 5
    rows = [row | {"id": f"{row['id']}", "answer": f"{row['answer']}{n}"} for n, row in enumerate(rows)]
    Path("labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    digest = rescore.hashlib.sha256(Path("labels.jsonl").read_bytes()).hexdigest()
    configure(calibration={"source": "labels.jsonl", "sha256": digest})
    main()
    assert (again("artifacts") / JUDGE_METRICS).read_bytes() == JUDGE_METRICS.read_bytes()


def dump(tree):
    with lock.LOCK.open("w") as stream:
        YAML().dump(tree, stream)


def write_lock():
    """The dvc.lock of the results here, as DVC writes it after a run."""
    outs = {
        "download": [TOKENIZER / "encoder.json"],
        "split": [split_file("train"), split_file("test"), SPLIT_METRICS],
        "generate": [RESPONSES],
        "judge": [VERDICTS, JUDGE_METRICS],
    }
    tree = plain(read_yaml(Path("params.yaml")))
    stages = {
        name: {
            "cmd": "x",
            "params": {"params.yaml": {name: tree[name]}},
            "outs": [{"path": str(path), "md5": digests.md5(path)} for path in paths],
        }
        for name, paths in outs.items()
    }
    listed = json.dumps([{"md5": digests.md5(TOKENIZER / "encoder.json"), "relpath": "encoder.json"}])
    at = Path("listed")
    at.write_text(listed)
    stages["download"]["outs"] = [{"path": str(TOKENIZER), "md5": f"{digests.md5(at)}.dir"}]
    dump({"schema": "2.0", "stages": stages})
    return [at, *(path for found in outs.values() for path in found)]


def cached(name, path):
    kept = Path(".dvc/cache/files/md5") / name[:2] / name[2:]
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, kept)


def test_a_commit_is_scored_from_the_cache_of_dvc_and_what_is_missing_is_named(folder):  # noqa: F811
    main()
    git("init", "-q")
    listed, *files = write_lock()
    for path in files:
        cached(digests.md5(path), path)
    cached(f"{digests.md5(listed)}.dir", listed)
    git("add", "dvc.lock", "params.yaml")
    git("commit", "-m", "a run")
    scores = SCORES.read_bytes()
    shutil.rmtree("artifacts")
    found = again("HEAD")
    assert (found / SCORES).read_bytes() == scores
    assert not Path("artifacts").exists()
    assert "judge" not in lock.entries(found)
    assert find_run(str(found)).values["split"]["method"] == "order"
    digest = digests.md5(found / RESPONSES)
    (Path(".dvc/cache/files/md5") / digest[:2] / digest[2:]).unlink()
    with pytest.raises(DataError, match=r"responses.jsonl is not in DVC's cache here"):
        again("HEAD", into="other")


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ("finetune.epochs=3", r"--set finetune.epochs: expected a value of the judge: nothing else is done again"),
        ("judge.model", r"--set judge.model: expected KEY=VALUE"),
        ("judge.model=[", r"--set judge.model=\[: the value is not YAML"),
        ("judge.modle=x", r"judge.modle: unknown key; did you mean judge.mode\?"),
        ("judge.seed=-1", r"judge.seed"),
        ("judge.nonsense=1", r"(?s)judge.nonsense: unknown key.*to fix it: correct --set judge.nonsense$"),
        ("judge.model=qwen3", r"--set judge.model: the built-in judge has no model; it would change nothing"),
    ],
)
def test_a_wrong_value_is_named(folder, given, wrong):  # noqa: F811
    main()
    with pytest.raises(ConfigError, match=wrong):
        again("artifacts", given)
    assert not Path("again").exists()


def test_a_digest_that_is_made_of_digits_is_a_text(folder):  # noqa: F811
    main()
    given = ["judge.backend=ollama", "judge.model=qwen3", "judge.digest=365040651234"]
    params = rescore.params_of(find_run("artifacts"), [options.parse(text) for text in given])
    assert params.judge.digest == "365040651234"


def test_a_rubric_is_for_a_judge_behind_a_server(folder):  # noqa: F811
    main()
    found = find_run("artifacts")
    given = [("judge.backend", "ollama"), ("judge.rubric", "levels-v1")]
    assert rescore.params_of(found, given).judge.rubric == "levels-v1"
    panel = [("judge.panel", [{"backend": "ollama", "model": "a"}]), ("judge.rubric", "levels-v1")]
    assert rescore.params_of(found, panel).judge.rubric == "levels-v1"


def test_a_wrong_value_of_the_run_is_not_laid_to_the_option(folder):  # noqa: F811
    main()
    configure(num_ctx=1)
    with pytest.raises(ConfigError, match=r"to fix it: correct artifacts, with params.yaml"):
        rescore.params_of(find_run("artifacts"), [("judge.seed", 5)])


def test_other_answers_of_one_run_are_in_another_folder(folder):  # noqa: F811
    main()
    found = find_run("artifacts")
    params = rescore.params_of(found, [])
    before = rescore._digest(found, params)
    assert rescore._digest(found, rescore.params_of(found, [("judge.seed", 5)])) != before
    assert len(before) == 8
    RESPONSES.write_text(RESPONSES.read_text().replace("freind", "friend"))
    assert rescore._digest(found, params) != before


def test_a_rescore_that_fails_leaves_nothing_behind_and_an_earlier_result_in_place(folder, monkeypatch):  # noqa: F811
    main()
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    given = ["judge.backend=ollama", "judge.retries=0"]
    monkeypatch.setattr(sys, "argv", ["rescore", "artifacts", *(word for one in given for word in ("--set", one))])
    found = find_run("artifacts")
    digest = rescore._digest(found, rescore.params_of(found, [options.parse(one) for one in given]))
    earlier = rescore.FOLDER / f"artifacts-{digest}"
    earlier.mkdir(parents=True)
    (earlier / "results").write_text("of before")
    with pytest.raises(ServiceUnavailable):
        rescore.main()
    assert [path.name for path in rescore.FOLDER.iterdir()] == [earlier.name]
    assert (earlier / "results").read_text() == "of before"


@pytest.mark.thorough
def test_ctrl_c_leaves_no_results_and_the_next_try_asks_the_rest(folder, monkeypatch):  # noqa: F811
    main()
    asked = threading.Event()

    def judge(body):
        if parts(body)[1] == "Paris." and not asked.is_set():  # an answer of a row; the probes have others
            asked.set()
            return silent
        return careful

    command = [sys.executable, "-m", "stages.judge.rescore", "artifacts", "--set", "judge.backend=ollama"]
    with FakeOllama(judge) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as stopped:
            assert asked.wait(120)
            os.killpg(stopped.pid, signal.SIGINT)
            told = stopped.communicate(timeout=60)[1]
        assert (stopped.returncode, "Traceback" in told) == (75, False), told
        assert [path.name for path in rescore.FOLDER.iterdir()] == []
        before = len(server.chats)
        assert before > 126  # the self-test, whose outcome is kept
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(server.chats) - before < 10
    (found,) = rescore.FOLDER.iterdir()
    assert json.loads((found / SCORES).read_text())["judge"].startswith("llama3 ")


def test_two_of_one_kind_do_not_work_at_the_same_time(folder):  # noqa: F811
    at = folder / rescore.FOLDER / "one-12345678"
    with rescore._alone(at):
        with pytest.raises(TemporaryFailure, match=r"one-12345678: another process is scoring the same answers"):
            rescore._alone(at).__enter__()
        with rescore._alone(at.with_name("another-12345678")):
            pass
    with rescore._alone(at):  # it is free again
        pass
    (at.parent / ".one-12345678.lock").touch()  # a killed process has left it
    with rescore._alone(at):
        pass
    assert list(at.parent.iterdir()) == []


def test_what_is_being_written_fits_no_pattern(folder):  # noqa: F811
    main()
    for name in ("one", ".one.1a2b3c4d.tmp"):
        shutil.copytree("artifacts", rescore.FOLDER / name / "artifacts")
    assert [run.name for run in find_all(".cache/rescored/*")] == [".cache/rescored/one"]
    assert [run.name for run in find_all(".cache/rescored/.one*")] == [".cache/rescored/.one.1a2b3c4d.tmp"]


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_not_this_folder(folder, name):  # noqa: F811
    main()
    for find in (find_run, find_all, chat.model_folder, lambda given: answers.of_run(Path(), given)):
        with pytest.raises(ConfigError, match="an empty name: expected a run, found nothing"):
            find(name)


@pytest.mark.slow  # MLflow makes a database
def test_the_run_in_mlflow_names_its_source_and_the_table_of_runs_says_what_it_is(folder, monkeypatch, capsys):  # noqa: F811
    from mlflow import MlflowClient

    main()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    Path("dvc.yaml").write_text("stages: {}\n")
    write_lock()
    git("init", "-q")
    git("commit", "--allow-empty", "-m", "the code that has trained")
    first = git("rev-parse", "HEAD")
    source = tracker.create_run(Path(), name="calm-otter")
    tracker.publish(Path(), source, ran=["judge"])
    tracker.end(source, "FINISHED")
    git("commit", "--allow-empty", "-m", "the code that scores again")
    before = contents(".cache", "mlflow.db", "mlruns")

    def rescored(*arguments):
        monkeypatch.setattr(sys, "argv", ["rescore", *arguments])
        rescore.main()
        return capsys.readouterr().out

    out = rescored("artifacts", "--set", "judge.bootstrap_resamples=200")
    assert contents(".cache", "mlflow.db", "mlruns") == before
    assert "artifacts, scored again\n" in out
    where = out.split("\nresults    ")[1].splitlines()[0]
    assert f"python -m stages.judge.runs.compare artifacts {where}" in out
    client = MlflowClient()
    newest, of_source = listing.listed(Path(), None).runs
    name = f"calm-otter-rescored-{where.rpartition('-')[2]}"
    assert (newest.name, newest.door, newest.state) == (f"quick ({name})", "rescored", "finished")
    assert newest.tags["git.commit"] == of_source.tags["git.commit"] == first
    assert newest.tags["rescore.commit"] == git("rev-parse", "HEAD") != first
    assert of_source.run_id == source
    assert newest.tags["rescore.of"] == source
    page = newest.tags["rescore.page"]
    assert page.endswith(f"/runs/{source}?workflowType=machine_learning")
    assert newest.tags["mlflow.note.content"].endswith(f"[quick (calm-otter)]({page})")
    assert newest.metrics["score/mean"] == of_source.metrics["score/mean"]
    assert newest.values["judge"]["bootstrap_resamples"] == 200
    lines = listing_of_runs.table([newest, of_source], listing_of_runs.Differences(Path()), 200)
    assert [line.split()[2:4] for line in lines if "calm-otter" in line] == [
        [name, "rescored"],
        ["calm-otter", "flow"],
    ]
    # The same command adds no other run.
    said = rescored("artifacts", "--set", "judge.bootstrap_resamples=200")
    assert f" has these results already: run {newest.name} ({newest.run_id})\n" in said
    assert [run.run_id for run in listing.listed(Path(), None).runs] == [newest.run_id, source]
    # The run that was scored again is a source itself, by its id, with the answers in DVC's cache.
    kept = {file.path for file in client.list_artifacts(newest.run_id)}
    assert {"params.yaml", "dvc.lock"} <= kept
    with pytest.raises(DataError, match=r"is not in DVC's cache here"):
        rescored(newest.run_id)
    # Where not all of it could be put there, the run has failed, and says so.
    kept_at = folder / "mlruns"
    kept_at.rename(folder / "moved")
    kept_at.write_text("no folder")
    out = rescored("artifacts", "--set", "judge.seed=5")
    kept_at.unlink()
    (folder / "moved").rename(kept_at)
    assert "MLflow     not complete there, so that its run is FAILED; the same command again" in out
    assert listing.listed(Path(), None).runs[0].state == "failed"
    # A commit is no run of MLflow; its dvc.lock tells which run has its answers, and a run scored again is none.
    assert origins.of_lineage(Path(), lock.text_without(Path(), "judge")) == (source, "quick (calm-otter)")
    assert origins.of_lineage(Path(), "stages: {split: {cmd: y}}") is None
    assert origins.of_lineage(Path(), "") is None
