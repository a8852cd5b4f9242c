"""The page that leads from the first run to a model in use, typed command by command, with the names of real runs."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.docs import pages
from tests.docs.test_walk import changed, clone, type_in  # noqa: F401 a fixture
from tests.flow_project import wait_until

PAGE = "docs/walk-through.md"


class Walk:
    """The blocks of the page in a clone, one after the other.

    Args:
        folder: the clone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, str] = {}
        self._blocks = pages.blocks(PAGE)

    def type(self) -> str:
        """Type the next block, with the names that are known, and return what it prints."""
        block = next(self._blocks)
        body = re.sub(r"\b(FIRST|SEEDS|OTHERS)\b", lambda found: self.names[found[0]], block.body)
        return type_in(self.folder, replace(block, body=body))

    def refused(self) -> str:
        """Type the next block, which ends with exit code 1."""
        with pytest.raises(AssertionError) as ended:
            self.type()
        return str(ended.value)

    def runs(self) -> list[dict[str, str]]:
        """What `make runs` lists, the newest first."""
        command = [self.folder / ".venv" / "bin" / "python", "-m", "flows.runs", "--json", "--all"]
        done = subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True)
        found: list[dict[str, str]] = json.loads(done.stdout)["runs"]
        return found


@pytest.fixture
def walk(clone: Path) -> Iterator[Walk]:  # noqa: F811
    yield Walk(clone)
    assert changed(clone) == []


@pytest.mark.slow
def test_each_step_of_the_page_does_what_it_says(walk: Walk) -> None:
    walk.names["FIRST"] = walk.runs()[-1]["short_name"]
    walk.type()
    wait_until(lambda: {"third", "fourth"} <= {one["short_name"] for one in walk.runs() if one["state"] == "finished"})

    told = walk.type()
    groups = re.findall(r"^compare     python -m stages\.judge\.runs\.compare (\S+) vs ANOTHER$", told, re.M)
    walk.names |= dict(zip(("SEEDS", "OTHERS"), groups, strict=True))

    told = walk.type()
    assert "recipes     " in told
    assert "is better" not in told, "the tiny model of the tests gets nothing right"
    assert "report of " in told

    assert "is the champion" in walk.type()
    assert "the champion stays" in walk.refused()
    told = walk.type()
    assert "it answers in fewer words" in told

    assert "equal: all 6 stages made the same bytes again" in walk.type()
    assert "published as" in walk.type()
    told = walk.type()
    assert "same: all " in told
