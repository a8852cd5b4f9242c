"""The console scripts of pyproject.toml become programs of ours."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tomllib
from pathlib import Path

from tests.root import ROOT

SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]


def test_a_console_script_is_a_program(monkeypatch):
    started = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: started.append(arguments))
    monkeypatch.setattr(sys, "argv", ["the-script", "--option"])

    for entry in SCRIPTS.values():
        module, _, function = entry.partition(":")
        getattr(importlib.import_module(module), function)()

    assert len(started) == len(SCRIPTS)
    for python, dash_m, module, option in started:
        assert (python, dash_m, option) == (sys.executable, "-m", "--option")
        assert 'if __name__ == "__main__":' in Path(importlib.util.find_spec(module).origin).read_text("utf-8")
