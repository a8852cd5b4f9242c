"""The cores that a process may use."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stages.common import cores
from tests.root import ROOT


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bind a process to cores")
def test_a_process_that_is_bound_to_one_core_has_one() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from stages.common import cores; print(cores.available())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_without_affinities_all_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cores.available() == 7
