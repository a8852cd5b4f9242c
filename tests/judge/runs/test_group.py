"""Groups of runs: what makes a recipe, which runs are one group, and which other trainings of a recipe are found."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from stages.common.errors import ConfigError
from stages.common.files import write_json
from stages.common.metrics.judge import JudgeIdentity
from stages.common.records import write_records
from stages.common.results.judge import JUDGE_METRICS, VERDICTS, Verdict
from stages.judge.runs import group, recipe, sources
from stages.judge.runs.sources import Run
from stages.running import digests
from tests.root import ROOT

JUDGE = JudgeIdentity(fingerprint="1" * 32, backend="reference")
OTHER_JUDGE = JudgeIdentity(fingerprint="2" * 32, backend="ollama")


def values(seed=1, epochs=6, **finetune):
    """Values of params.yaml, as far as a recipe goes."""
    sections = {name: {"a": 1.0} for name in ("download", "split", "tokenize", "generate")}
    return {"profile": "quick", **sections, "finetune": {"seed": seed, "epochs": epochs, **finetune}, "judge": {"b": 2}}


def verdicts(*scores):
    return [
        Verdict(id=f"r{index}", model="tuned", status="scored", score=float(score), detail="", cluster=f"c{index}")
        for index, score in enumerate(scores)
    ]


def training(name, judge=JUDGE, scores=(1, 2), **given):
    return Run(name, judge, verdicts(*scores), values(**given))


def write(folder, seed, scores, judge=JUDGE, code="c1", data="d1", **given):
    """A folder with the judge's files and the dvc.lock that names them."""
    (folder / VERDICTS).parent.mkdir(parents=True, exist_ok=True)
    write_records(folder / VERDICTS, verdicts(*scores))
    write_json(folder / JUDGE_METRICS, {"judge": judge.model_dump()})
    outs = [{"path": str(path), "md5": digests.md5(folder / path)} for path in (VERDICTS, JUDGE_METRICS)]
    tree = values(seed, **given)
    stages = {
        name: {
            "cmd": "x",
            "params": {"params.yaml": {name: tree[name]}},
            "deps": [
                {"path": "data" if name == "download" else f"artifacts/{name}/before", "md5": data},
                {"path": f"stages/{name}/job.py", "md5": code},
            ],
            "outs": outs if name == "judge" else [],
        }
        for name in ("download", "split", "tokenize", "finetune", "generate", "judge")
    }
    write_json(folder / "dvc.lock", {"stages": stages})
    return folder


def test_a_recipe_is_all_that_decides_an_answer_but_the_seed():
    found = recipe.recipe_of(values(seed=1))
    assert found == {
        "download.a": 1,
        "split.a": 1,
        "tokenize.a": 1,
        "finetune.epochs": 6,
        "generate.a": 1,
    }
    assert found == recipe.recipe_of({**values(seed=2), "profile": "other", "judge": {}})
    assert found != recipe.recipe_of(values(epochs=7))
    assert found == recipe.recipe_of({**values(), "split": {"a": 1, "checks": {"leaks": 0, "phones": None}}})
    assert recipe.seed_of(values(seed=7)) == 7


def test_a_number_is_one_number_however_it_is_kept():
    """dvc.lock has what params.yaml says, and MLflow what the pipeline makes of it."""
    assert recipe.recipe_of(values(clip_norm=1)) == recipe.recipe_of(values(clip_norm=1.0))
    there, here = recipe.recipe_of(values(lora=None)), recipe.recipe_of(values(lora={"rank": 4, "targets": ["c_fc"]}))
    assert recipe.between(there, here) == [
        "finetune.lora null / absent",
        "finetune.lora.rank absent / 4",
        'finetune.lora.targets absent / ["c_fc"]',
    ]


@pytest.mark.parametrize("missing", ["download", "split", "tokenize", "generate", "finetune"])
def test_without_a_section_the_recipe_is_not_known(missing):
    assert recipe.recipe_of({key: value for key, value in values().items() if key != missing}) is None
    assert recipe.recipe_of(values(seed=None)) is None


def test_trainings_of_one_recipe_are_a_group():
    found = group.of_runs("a b", [training("a", seed=1), training("b", seed=2)])
    assert (found.name, found.seeds, found.notes) == ("a b", [1, 2], ())
    assert group.of_runs("one", [training("a")]).name == "a"


def test_runs_of_two_recipes_are_no_group_and_the_message_names_what_differs():
    runs = [training("a", seed=1), training("b", seed=2, epochs=3)]
    with pytest.raises(
        ConfigError, match=r"a and b are not of one recipe, .* finetune\.seed alone: finetune.epochs 6 / 3"
    ):
        group.of_runs("a b", runs)


def test_runs_by_two_judges_are_no_group():
    with pytest.raises(ConfigError, match="a and b were scored by two judges"):
        group.of_runs("a b", [training("a", seed=1), training("b", judge=OTHER_JUDGE, seed=2)])


def test_a_training_that_is_named_twice_counts_once_and_unknown_values_are_told():
    found = group.of_runs("x", [training("a", seed=1), training("b", seed=1), Run("c", JUDGE, verdicts(1))])
    assert [run.name for run in found.runs] == ["a", "c"]
    assert found.notes == (
        "b is left out: a has the same seed, 1",
        "c: its values are not known: that it is of the recipe of the others is not checked",
    )


def test_a_training_in_both_groups_is_refused():
    a = group.of_runs("a", [training("1", seed=1), training("2", seed=2)])
    with pytest.raises(ConfigError, match=r"of one recipe, and both hold the training with finetune.seed 2"):
        group.require_apart(a, group.of_runs("b", [training("2", seed=2), training("3", seed=3)]))
    group.require_apart(a, group.of_runs("b", [training("3", seed=3), training("4", seed=4)]))
    group.require_apart(a, group.of_runs("b", [training("1", seed=1, epochs=3), training("2", seed=2, epochs=3)]))
    alone = group.of_runs("a", [training("1", seed=1)])
    group.require_apart(alone, alone)


def test_a_folder_tells_the_values_behind_its_verdicts(tmp_path):
    found = sources.find_run(str(write(tmp_path / "run", 5, [1, 2])))
    files = [f"code stages/{name}/job.py" for name in ("download", "finetune", "generate", "split", "tokenize")]
    assert found.seed == 5
    assert found.recipe == recipe.recipe_of(values()) | dict.fromkeys(files, "c1") | {"data data": "d1"}
    write_records(tmp_path / "run" / VERDICTS, verdicts(3, 4))  # not those that dvc.lock names
    assert sources.find_run(str(tmp_path / "run")).recipe is None


def test_runs_of_two_codes_or_data_are_no_group_and_the_message_names_the_files(tmp_path):
    """The judge's code is not the recipe's, nor is what an earlier stage has made."""
    first, code, data = (
        sources.find_run(str(write(tmp_path / name, seed, [1, 2], **given)))
        for name, seed, given in (
            ("a", 1, {}),
            ("b", 2, {"code": "0123456789", "epochs": 3}),
            ("c", 3, {"data": "abcdef0123"}),
        )
    )
    with pytest.raises(
        ConfigError,
        match=r"alone: finetune.epochs 6 / 3, code stages/download/job.py c1 / 0123456, .*tokenize/job.py c1 / 01234",
    ):
        group.of_runs("a b", [first, code])
    with pytest.raises(ConfigError, match=r"alone: data data d1 / abcdef0\n"):
        group.of_runs("a c", [first, data])
    again = sources.find_run(str(write(tmp_path / "d", 4, [1, 2])))
    assert group.of_runs("a d", [first, again]).seeds == [1, 4]


def test_no_run_is_no_group():
    with pytest.raises(ConfigError, match="moth: expected runs with verdicts, found none"):
        group.of_runs("moth", [])


def test_a_pattern_means_the_folders_that_fit_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in (2, 1):
        write(Path(f"small-{seed}"), seed, [seed] * 2)
    write(Path("large-1"), 1, [9, 9])
    assert [run.name for run in sources.find_all("small-*")] == ["small-1", "small-2"]
    assert [run.name for run in sources.find_all(f"{tmp_path}/small-[2-9]")] == [f"{tmp_path}/small-2"]
    assert [run.seed for run in sources.find_all("large-1")] == [1]
    with pytest.raises(ConfigError, match="tiny-\\*: no folder, DVC experiment or finished MLflow run fits it"):
        sources.find_all("tiny-*")


def git(*arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def experiment(name, seed, scores, **given):
    """A DVC experiment of a training, with its results in DVC's cache."""
    base = git("rev-parse", "HEAD")
    write(Path(), seed, scores, **given)
    for path in (VERDICTS, JUDGE_METRICS):
        digest = digests.md5(path)
        kept = Path(".dvc/cache/files/md5") / digest[:2] / digest[2:]
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, kept)
    git("add", "dvc.lock")
    git("commit", "-m", name)
    git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", git("rev-parse", "HEAD"))
    git("reset", "--hard", "-q", base)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    git("init", "-q")
    Path("README.md").write_text("a project\n")
    git("add", "README.md")
    git("commit", "-m", "start")
    return tmp_path


def test_a_pattern_means_the_experiments_of_dvc_that_fit_it(repository):
    for seed in (1, 2):
        experiment(f"small-{seed}", seed, [seed] * 2)
    experiment("large-1", 1, [9, 9], epochs=9)
    found = sources.find_all("small-?")
    assert sorted((run.name.split(" ")[0], run.seed) for run in found) == [("small-1", 1), ("small-2", 2)]


def test_other_trainings_of_a_recipe_are_found_and_nothing_else(repository):
    run = sources.find_run(str(write(repository / "run", 1, [1, 2])))
    experiment("same-seed", 1, [3, 4])
    experiment("other-seed", 2, [5, 6])
    experiment("other-recipe", 3, [7, 8], epochs=9)
    write(Path(), 4, [9, 9])  # the folder
    experiment("other-code", 6, [7, 8], code="c2")
    experiment("other-data", 7, [7, 8], data="d2")
    write(Path(), 4, [9, 9])
    assert sorted(other.seed for other in sources.trainings_of(run)) == [2, 4]
    assert sources.trainings_of(Run("unknown", JUDGE, verdicts(1))) == []
    write(Path(), 4, [9, 9], judge=OTHER_JUDGE)
    assert [other.seed for other in sources.trainings_of(run)] == [2]
    known = group.with_known(group.of_runs("run", [run]))
    assert [other.seed for other in known.trainings()] == [1, 2]


@pytest.mark.slow  # MLflow makes a database
def test_runs_of_mlflow_by_pattern_filter_and_parent_and_the_other_trainings_there(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    client = MlflowClient()
    experiment_id = client.create_experiment("instruct-pipeline/quick", artifact_location=(tmp_path / "kept").as_uri())
    parent = client.create_run(experiment_id, run_name="moth").info.run_id
    client.set_terminated(parent)
    for seed, epochs, judge, status in (
        (1, 6, JUDGE, "FINISHED"),
        (2, 6, JUDGE, "FINISHED"),
        (3, 6, OTHER_JUDGE, "FINISHED"),
        (4, 6, JUDGE, "FAILED"),
        (5, 9, JUDGE, "FINISHED"),
        (6, 6, JUDGE, "FINISHED"),
    ):
        run_id = client.create_run(experiment_id, run_name=f"moth-seed-{seed}").info.run_id
        folder = write(tmp_path / f"files-{seed}", seed, [seed] * 2, judge=judge, epochs=epochs)
        for path in (VERDICTS, JUDGE_METRICS):
            client.log_artifact(run_id, str(folder / path), "judge")
        if seed != 6:
            client.log_artifact(run_id, str(folder / "dvc.lock"))
        if epochs == 6:
            client.set_tag(run_id, "mlflow.parentRunId", parent)
        client.set_tag(run_id, "judge.fingerprint", judge.fingerprint)
        for section, inner in values(seed, epochs).items():
            for key, value in inner.items() if isinstance(inner, dict) else [("", inner)]:
                client.log_param(run_id, f"{section}.{key}".strip("."), json.dumps(value))
        client.set_terminated(run_id, status)

    assert [(run.name, run.seed) for run in sources.find_all("moth")] == [
        ("moth-seed-6", None),  # without dvc.lock, so that its code and data are not known
        ("moth-seed-3", 3),
        ("moth-seed-2", 2),
        ("moth-seed-1", 1),
    ]
    assert [run.name for run in sources.find_all("moth-seed-[15]")] == ["moth-seed-5", "moth-seed-1"]
    assert [run.name for run in sources.find_all("mlflow:params.`finetune.epochs` = '9'")] == ["moth-seed-5"]
    with pytest.raises(ConfigError, match="MLflow does not take the filter"):
        sources.find_all("mlflow:epochs is nine")
    with pytest.raises(ConfigError, match=r"mlflow:tags.profile = 'x': no folder, DVC experiment or finished"):
        sources.find_all("mlflow:tags.profile = 'x'")
    (run,) = sources.find_all("moth-seed-1")
    assert [(other.name, other.seed) for other in sources.trainings_of(run)] == [("moth-seed-2", 2)]


def test_without_a_database_nothing_is_known_of_other_runs(repository):
    run = sources.find_run(str(write(repository / "run", 1, [1, 2])))
    assert sources.trainings_of(run) == []
    (repository / "mlflow.db").write_text("no database")
    assert sources.trainings_of(run) == []


def test_the_recipe_of_the_project_s_own_lock_is_known():
    found = sources.Recorded.of(ROOT)
    assert recipe.seed_of(found.values) == 123
    known = recipe.recipe_of(found.values, found.inputs)
    assert known["finetune.epochs"] == 3
    assert {"data data", "code stages/finetune/trainer.py", "code stages/generate/job.py"} <= known.keys()
    assert not any("artifacts" in key or "stages/judge/" in key for key in known)
