"""The flow behind a proxy: its own servers are on this machine, and no proxy concerns them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import flow_project
from tests.fake_hub import serving

#: What a stage prints of its environment.
SAYS = 'print("stage sees", os.environ.get("ALL_PROXY"), os.environ.get("NO_PROXY"))\n'


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["SOCKS", "HTTP"])
def test_a_proxy_is_not_asked_for_the_temporary_server(tmp_path: Path, kind: str) -> None:
    project = flow_project.create(tmp_path / "project")
    stage = project.root / "stage.py"
    stage.write_text(stage.read_text() + SAYS)
    project.git("commit", "-qam", "say what is seen")
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served") as proxy:
        variables = {"ALL_PROXY": "socks5://127.0.0.1:1"} if kind == "SOCKS" else {"HTTP_PROXY": proxy.endpoint}
        # httpx, in which Prefect asks its server, fails for a range of IPv6.
        done = project.python("-m", "flows.run", NO_PROXY="example.org,fd00::/8,[::1]", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert proxy.requests == []
    seen = "socks5://127.0.0.1:1" if kind == "SOCKS" else None
    assert f"stage sees {seen} example.org,::1,localhost,127.0.0.1" in done.stdout + done.stderr
