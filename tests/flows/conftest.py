"""The project and the Prefect server of the flow's tests. A module that needs another project makes its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import servers
from tests import flow_project
from tests.flow_project import Project


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose data are imported, and no stage of which has run; what `project` is a copy of."""
    project = flow_project.create(tmp_path_factory.mktemp("template") / "project")
    project.dvc("repro", "-q", "data.dvc")
    return project


@pytest.fixture
def project(template: Project, tmp_path: Path) -> Project:
    """A copy of the module's project, for one test."""
    return flow_project.copy(template, tmp_path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server of the locked versions, really started; yields its API's address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        started = servers.start_prefect(servers.free_port(0))
        with servers.running(started):
            yield f"{started.address}/api"
