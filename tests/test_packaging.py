"""`pip install .` gives a package that works: every file of ours is in it, and it needs no repository around it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

from stages.common.token_files import TokenRows
from stages.params import reading
from tests.root import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

#: Prints the files that setuptools would pack.
PACKED = """
from pathlib import Path
from setuptools import Distribution

found = Distribution({"script_name": "setup.py"})
found.parse_config_files(["pyproject.toml"])
build = found.get_command_obj("build_py")
build.ensure_finalized()
modules = [path for _, _, path in build.find_all_modules()]
data = [Path(folder, name) for _, folder, _, names in build.data_files for name in names]
print(*sorted(str(Path(path)) for path in [*modules, *data]), sep="\\n")
"""


def tracked(*folders: str) -> list[str]:
    """The files below some folders that are part of the repository, or will be when they are committed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return sorted(name for name in set(done.stdout.splitlines()) if (ROOT / name).is_file())


def test_every_file_of_the_packages_is_packed():
    done = subprocess.run([sys.executable, "-c", PACKED], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == tracked("stages", "flows")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A virtual environment with the package from a wheel, which sees this interpreter's other packages."""
    folder = tmp_path_factory.mktemp("packaging")
    source = folder / "source"
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    subprocess.run([*pip, "wheel", *offline, "--no-build-isolation", "-w", folder / "wheels", source], check=True)
    environment = folder / "environment"
    venv.create(environment)
    paths = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", "venv", paths))
    others = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (packages / "others.pth").write_text("".join(f"{path}\n" for path in others))
    [wheel] = (folder / "wheels").iterdir()
    subprocess.run([*pip, "--python", environment / "bin/python", "install", *offline, wheel], check=True)
    return environment


@pytest.fixture
def outside(installed, tmp_path):
    """Runs a command of the environment in an empty folder, which is also its home."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def run(*command: object) -> subprocess.CompletedProcess[str]:
        program, *arguments = command
        return subprocess.run(
            [installed / "bin" / str(program), *map(str, arguments)],
            cwd=tmp_path,
            env=kept | {"PATH": f"{installed / 'bin'}:{os.environ['PATH']}", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


IMPORTS = """
import importlib, pkgutil, sys
import flows, stages

packages = [(package.__path__, package.__name__ + ".") for package in (flows, stages)]
found = [module.name for package in packages for module in pkgutil.walk_packages(*package)]
modules = [importlib.import_module(name) for name in found if name.rpartition(".")[2] != "__main__"]
assert all(module.__file__.startswith(sys.prefix) for module in modules), modules
print(len(found))
"""

RESOURCES = """
from stages.judge import self_test
from stages.judge.judges.rubric import FOLDER, load_rubric

rubrics = sorted(path.stem for path in FOLDER.glob("*.json"))
for name in rubrics:
    load_rubric(name, comparing=name.startswith("pairwise"))
print(*rubrics, len(self_test.probes()) > 0)
"""


@pytest.mark.slow  # builds and installs a wheel
def test_every_module_and_every_data_file_is_there(outside):
    done = outside("python", "-c", IMPORTS)
    assert done.returncode == 0, done.stderr
    modules = [name for name in tracked("stages", "flows") if name.endswith(".py")]
    assert int(done.stdout) == len(modules) - 2  # but for the two packages themselves

    done = outside("python", "-c", RESOURCES)
    assert done.returncode == 0, done.stderr
    rubrics = sorted(path.stem for path in (ROOT / "stages/judge/judges/rubrics").iterdir())
    assert done.stdout.split() == [*rubrics, "True"]

    done = outside("python", "-c", "import importlib.metadata as m; print(m.version('instruct-pipeline'))")
    assert done.stdout.strip() == PROJECT["version"]


@pytest.mark.slow
def test_the_console_scripts_answer(outside):
    for name in PROJECT["scripts"]:
        done = outside(name, "--help")
        assert (done.returncode, done.stderr) == (0, ""), name
        assert done.stdout.startswith("usage: "), name

    done = outside("instruct-pipeline")
    assert done.returncode == 78
    assert "no dvc.yaml here\n  to fix it: run the command in the project's folder" in done.stderr


@pytest.mark.slow
def test_all_stages_run_in_a_folder_with_params_and_data_alone(outside, tmp_path):
    done = outside("python", "-m", "stages.download")
    assert (done.returncode, done.stderr.partition("\n")[0]) == (78, "download: params.yaml: no such file")

    tree = json.loads(json.dumps(reading.read_yaml(ROOT / "params.yaml")))
    tree["download"]["data"] = {"source": "data/rows.json", "sha256": None}
    tree["download"]["model"] |= {"weights": "scratch", "n_layer": 1, "n_head": 2, "n_embd": 8}
    rows = [{"instruction": f"Say {number}.", "output": str(number)} for number in range(20)]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.json").write_text(json.dumps(rows))
    tree["finetune"] |= {"epochs": 1, "warmup_steps": 0, "batch_size": 4}
    (tmp_path / "params.yaml").write_text(json.dumps(tree))
    for stage in ("download", "split", "tokenize", "finetune", "generate", "judge"):
        done = outside("python", "-m", f"stages.{stage}")
        assert done.returncode == 0, done.stderr
    assert len(TokenRows(tmp_path / "artifacts/tokenize/train.arrow", made_by="x")) == 18
    assert json.loads((tmp_path / "artifacts/judge/metrics.json").read_text())["tuned"]["scored"] == 1
