"""A dvc.lock and a folder's list that somebody else has written: neither reads nor writes outside its folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows import chat
from stages.common.errors import DataError
from stages.judge.runs import sources
from stages.running import lock
from stages.running.restore import restore
from tests.root import ROOT

FILE, FOLDER = "b" * 32, "c" * 32 + ".dir"
MODEL = "artifacts/finetune/model"


def lock_of(digest: Any, path: Any = MODEL, stage: str = "finetune") -> str:
    """A dvc.lock with one output; JSON is YAML too."""
    return json.dumps({"schema": "2.0", "stages": {stage: {"outs": [{"path": path, "hash": "md5", "md5": digest}]}}})


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DVC's cache of a project, which is the working directory; a file outside the project is beside it."""
    project = tmp_path / "project"
    found = project / ".dvc" / "cache" / "files" / "md5"
    found.mkdir(parents=True)
    (tmp_path / "outside").write_text("precious")
    monkeypatch.chdir(project)
    put(found, FILE, "{}")
    return found


def put(cache: Path, digest: str, text: str) -> None:
    (cache / digest[:2]).mkdir(exist_ok=True)
    (cache / digest[:2] / digest[2:]).write_text(text)


HOSTILE_DIGESTS = [
    "../../../../outside",
    "bb/../../../../../../outside",
    FILE.upper(),
    FILE + "\n",
    FILE + ".dir.dir",
    5,
]
HOSTILE_PATHS = ["/etc/passwd", "../outside", "a/../../outside", "", ".", "a\n", "a\x1b[2J", 7, None, ["a"]]


@pytest.mark.parametrize("digest", HOSTILE_DIGESTS)
def test_a_digest_that_is_none_is_refused_and_shown_without_its_control_characters(digest: Any) -> None:
    with pytest.raises(DataError, match="the-lock: stage s: md5: expected 32 hexadecimal digits") as caught:
        lock.outputs(lock_of(digest, stage="s"), "s", name="the-lock", fix="another")
    assert repr(digest) in str(caught.value)
    assert caught.value.fix == "another"


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_a_path_that_leaves_the_folder_is_refused(path: Any) -> None:
    with pytest.raises(DataError, match="the-lock: stage s: path: expected a path inside the folder") as caught:
        lock.outputs(lock_of(FILE, path, "s"), "s", name="the-lock", fix="another")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[", "stages: 5", "stages: {s: {outs: xy}}", "stages: {s: {outs: []}}", "a: &a [*a]", "[" * 9999]
)
def test_what_is_no_lock_has_no_outputs(text: str) -> None:
    with pytest.raises(lock.NoOutputs, match="the-lock: no outputs of the stage s"):
        lock.outputs(text, "s", name="the-lock", fix="another")


HOSTILE_LISTS: list[Any] = [
    [{"md5": FILE, "relpath": "../../../../outside"}],
    [{"md5": FILE, "relpath": "/tmp/outside"}],
    [{"md5": "../../../../../outside", "relpath": "config.json"}],
    [{"md5": FOLDER, "relpath": "config.json"}],
    [{"md5": FILE, "relpath": "a"}, {"md5": FILE, "relpath": "a/b"}],
    [{"md5": FILE, "relpath": "a"}, {"md5": FILE, "relpath": "./a"}],
    [{"relpath": "a"}],
    ["a"],
    {"a": "b"},
    5,
]


@pytest.mark.parametrize("listed", HOSTILE_LISTS)
def test_no_door_follows_a_hostile_list_of_a_folder(cache: Path, listed: Any) -> None:
    put(cache, FOLDER, json.dumps(listed))
    Path("dvc.lock").write_text(lock_of(FOLDER))
    with pytest.raises(DataError, match=f"a-run: .*{FOLDER[2:]}"):
        chat.of_lock("a-run", Path("dvc.lock"))
    assert not restore("finetune")
    assert Path("../outside").read_text() == "precious"
    assert not Path("../outside").is_symlink()
    assert not Path(".cache").exists()
    assert not Path("artifacts").exists()


def test_an_honest_list_is_followed(cache: Path) -> None:
    put(cache, FOLDER, json.dumps([{"md5": FILE, "relpath": "deep/..x"}, {"md5": FILE, "relpath": "config.json"}]))
    output = lock.Output(Path(MODEL), FOLDER)
    entry = Path(".dvc/cache/files/md5/bb") / ("b" * 30)
    assert lock.files(output, name="a-run", fix="") == [
        (Path(MODEL, "deep/..x"), entry),
        (Path(MODEL, "config.json"), entry),
    ]


def test_a_hostile_lock_restores_nothing(cache: Path) -> None:
    for text in (
        lock_of("../../../../outside", "copy"),
        lock_of(FILE, "../written"),
        lock_of(FILE, "/tmp/f13-written"),
    ):
        Path("dvc.lock").write_text(text)
        assert not restore("finetune")
    assert not Path("copy").exists()
    assert not Path("../written").exists()


def test_a_commit_with_a_hostile_lock_is_not_compared(cache: Path) -> None:
    outs = [{"path": str(path), "md5": "../../../../outside"} for path in sources.FILES]
    Path("dvc.lock").write_text(json.dumps({"stages": {"judge": {"outs": outs}}}))
    for command in (["init", "-q"], ["add", "dvc.lock"], ["commit", "-qm", "hostile"]):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, *command], check=True)
    with pytest.raises(DataError, match=r"HEAD: its dvc\.lock: stage judge: md5: expected 32 hexadecimal digits"):
        sources.find_run("HEAD")


@pytest.mark.thorough
@pytest.mark.parametrize("way", ["a digest that leads out", "a list that leads out"])
def test_chat_with_a_run_of_a_hostile_store_replaces_no_file(cache: Path, way: str) -> None:
    """The whole program, with a real MLflow store: whoever can write there cannot write here."""
    outside = Path("../outside").resolve()
    listed = json.dumps([{"md5": FILE, "relpath": str(outside)}])
    put(cache, FOLDER, listed)
    (outside.parent / "other.dir").write_text(listed)
    digest = FOLDER if way == "a list that leads out" else f"xx{outside.parent}/other.dir"
    store = f"sqlite:///{Path.cwd()}/mlflow.db"
    log = (
        "import mlflow, sys; mlflow.set_tracking_uri(sys.argv[1]); mlflow.set_experiment('instruct-pipeline')\n"
        "with mlflow.start_run(run_name='hostile'): mlflow.log_text(sys.argv[2], 'dvc.lock')"
    )
    subprocess.run([sys.executable, "-c", log, store, lock_of(digest)], check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-m", "flows.chat", "--model", "hostile"],
        env={"PATH": "", "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": store},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "chat: hostile: " in done.stderr) == (65, True), done.stderr
    assert "Traceback" not in done.stderr
    assert Path("../outside").read_text() == "precious"
    assert not Path("../outside").is_symlink()


def _with_foreign_value(root: Path) -> None:
    """A split that was given a value of tokenize's section, as dvc.yaml names it, beside an older tokenize."""
    entries = {
        "split": {"params": {"params.yaml": {"split": {"seed": 1}, "tokenize.prompt_style": "phi3"}}},
        "tokenize": {"params": {"params.yaml": {"tokenize": {"prompt_style": "alpaca"}}}},
    }
    (root / lock.LOCK).write_text(json.dumps({"stages": dict(reversed(entries.items()))}))


def test_what_a_stage_was_given_of_another_section_says_nothing_of_that_stage(tmp_path: Path) -> None:
    _with_foreign_value(tmp_path)
    expected = {"split": {"seed": 1}, "tokenize": {"prompt_style": "alpaca"}}
    assert lock.Recorded.of(tmp_path).values == expected
    ending = lock.Recorded.of(tmp_path, making="split", given={"split.seed": 2, "tokenize.prompt_style": "other"})
    assert ending.values == {"split": {"seed": 2}, "tokenize": {"prompt_style": "alpaca"}}


def test_no_caller_changes_what_another_one_gets(tmp_path: Path) -> None:
    _with_foreign_value(tmp_path)
    text = (tmp_path / lock.LOCK).read_text()
    lock.Recorded.of(tmp_path).values["tokenize"]["prompt_style"] = "changed"
    lock.tree_of(text)["stages"].clear()
    assert lock.Recorded.of_text(text).values["tokenize"] == {"prompt_style": "alpaca"}
    assert list(lock.tree_of(text)["stages"]) == ["tokenize", "split"]
