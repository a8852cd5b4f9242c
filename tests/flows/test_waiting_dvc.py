"""DVC reads a dvc.lock quickly before it writes it, and writes what it writes without that."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from flows import waiting_dvc
from tests.root import ROOT

#: Changes a value of a file as DVC does, with its parsers as they are, or after `waiting_dvc.read_locks_quickly`.
_MODIFY = """
import sys
from flows import waiting_dvc
from dvc.utils.serialize import _yaml
path, quickly = sys.argv[1:]
if quickly == "quickly":
    waiting_dvc.read_locks_quickly()
with _yaml.modify_yaml(path) as data:
    data["schema"] = "3.0"
    print(type(data).__name__)
"""
_PLAIN = """\
schema: '2.0'
stages:
  b:
    cmd: python -m b
    deps:
    - path: z.py
      md5: '0e123456789012345678901234567890'
      size: 12
    params:
      params.yaml:
        b:
          rate: 0.005
          small: 1e-05
          on: false
          none:
          text: '5'
  a:
    cmd: python -m a
"""


def modified(path: Path, text: str, how: str) -> tuple[str, str]:
    """What the file has after the change, and the kind of object that it was read as."""
    path.write_text(text)
    command = [sys.executable, "-c", _MODIFY, str(path), how]
    kind = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return path.read_text(), kind


@pytest.mark.thorough
@pytest.mark.parametrize("text", [_PLAIN, (ROOT / "dvc.lock").read_text()], ids=["values", "the project's"])
def test_a_lock_is_written_as_dvc_writes_it(tmp_path: Path, text: str) -> None:
    lock = tmp_path / "dvc.lock"

    assert modified(lock, text, "quickly") == (text.replace("'2.0'", "'3.0'"), "dict")
    assert modified(lock, text, "as it is") == (text.replace("'2.0'", "'3.0'"), "CommentedMap")


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "text"), [("dvc.lock", "# mine\n" + _PLAIN), ("dvc.yaml", _PLAIN)])
def test_comments_and_other_files_are_left_to_dvcs_own_parser(tmp_path: Path, name: str, text: str) -> None:
    assert modified(tmp_path / name, text, "quickly") == (text.replace("'2.0'", "'3.0'"), "CommentedMap")


@pytest.mark.thorough
def test_a_dvc_that_has_waited_reads_locks_quickly() -> None:
    code = (
        "import json, os; from flows import waiting_dvc; r, w = os.pipe();"
        "few = {name: os.environ[name] for name in ('HOME', 'PATH')};"
        "os.write(w, json.dumps({'folder': os.getcwd(), 'environment': few}).encode()); os.close(w);"
        "print(waiting_dvc.main(r, ['dvc', 'version']));"
        "from dvc.utils.serialize import _yaml; print(_yaml.parse_yaml_for_update.__module__)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.splitlines()[-2:] == ["0", "flows.waiting_dvc"]


def test_dvc_has_what_is_replaced() -> None:
    """With another version of DVC the lock would be read slowly, and nobody would see it."""
    files = importlib.import_module("dvc.utils.serialize._yaml")

    assert callable(files.parse_yaml_for_update)
    assert callable(files.parse_yaml)
    assert all(importlib.import_module(name) for name in waiting_dvc._MODULES)
