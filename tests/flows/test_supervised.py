"""The program of a flow loads Prefect with the garbage collector off, which is on when the flow begins."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.root import ROOT


@pytest.mark.thorough
def test_the_collector_is_on_again_when_the_flow_begins() -> None:
    code = (
        "import gc, sys; from flows import supervised\n"
        "sys.argv = ['flows.supervised', '--help']\n"
        "assert 'flows.flow_process' not in sys.modules\n"
        "try:\n    supervised.main()\n"
        "except SystemExit as end:\n    print(end.code, gc.isenabled(), gc.get_freeze_count() > 0)"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("usage: python -m flows.supervised")
    assert done.stdout.splitlines()[-1] == "0 True True"
