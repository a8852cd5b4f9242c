"""What `make setup` says while pip works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.root import ROOT
from tools import install

_PIP = [
    "Collecting numpy==2.3.0 (from -r requirements.lock (line 3))",
    "  Downloading numpy-2.3.0-cp311-cp311-manylinux.whl (16.6 MB)",
    "Collecting torch[opt]==2.9 (from -r requirements.lock (line 4))",
    "  Downloading torch-2.9-cp311-none-any.whl (0.8 GB)",
    "Requirement already satisfied: tqdm in /venv (from -r requirements.lock (line 5)) (4.67.1)",
    "Installing collected packages: numpy, torch",
    "Successfully installed numpy-2.3.0 torch-2.9",
]


def test_large_downloads_and_the_installation_are_told() -> None:
    assert list(install.progress(_PIP, 3)) == [
        "  downloading torch, 0.8 GB",
        "  installing 2 of 3 packages (a minute or two)",
    ]


def test_a_line_comes_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_SECONDS", 0.0)
    assert list(install.progress(_PIP, 3))[::2] == [
        "  1 of 3 packages found: numpy",
        "  downloading torch, 0.8 GB",
        "  installing 2 of 3 packages (a minute or two)",
    ]


def test_packages_of_included_files_count(tmp_path: Path) -> None:
    (tmp_path / "dev.lock").write_text("# tests\n-r run.lock\npytest==9.0\n")
    (tmp_path / "run.lock").write_text("-c cuda.lock\nnumpy==2.3.0 ; python_version < '4'\ntqdm==4.67.1\n")
    assert install.asked_for(tmp_path / "dev.lock") == 3


def test_pip_s_own_message_and_exit_code_are_kept(tmp_path: Path) -> None:
    (tmp_path / "none.lock").write_text("a @ file:///none/a-1-py3-none-any.whl\n")
    command = [sys.executable, str(ROOT / "tools" / "install.py"), "-r", str(tmp_path / "none.lock"), "--no-deps"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "/none/a-1-py3-none-any.whl" in done.stderr
    assert done.stdout == ""
