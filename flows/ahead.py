"""Looks before a run at what it needs: for the command before Prefect starts, for a deployment when the flow begins."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows import profiles
from flows.command_line import Request
from stages.common import paths
from stages.common.printable import printable
from stages.common.secrecy import hidden
from stages.params import reading
from stages.running import git, temporary
from stages.running.checks import plan, preflight
from stages.running.checks.preflight import Mode

#: How a deployed run does what it can: its parameter, which has this title in the form.
_OTHERWISE = "nothing was run; to run what can be run: preflight=warn, in the form under If something is missing"
_FIX = "git status says what is wrong with the repository"


@dataclass(frozen=True)
class Planned:
    """The run that a command line asks for.

    Args:
        root: the user's repository.
        tree: the folder itself, or the files of its last commit, which the run will read.
        asked: what it asks for.
        values: the values of params.yaml with those that it gives.
        fates: what becomes of each stage, as far as the files tell.
    """

    root: Path
    tree: Path
    asked: Request
    values: Mapping[str, Any]
    fates: Mapping[str, plan.Fate]

    @property
    def changes(self) -> bool:
        """Whether any stage runs or takes its result from the cache."""
        return set(self.fates.values()) != {"up to date"}

    def look(self) -> None:
        """Look at what the run needs, and print it.

        Raises:
            NotReady: something is missing, and the run is not to begin then.
        """
        if self.asked.preflight != "off":
            refuse = self.asked.preflight == "fail"
            preflight.look(self.root, self.values, self.fates, tell=_print, refuse=refuse, tree=self.tree)


@contextlib.contextmanager
def planned(root: Path, asked: Request) -> Iterator[Planned]:
    """Find out which stages the run of a command line will run; the files that it will read are there for the block.

    Raises:
        ConfigError: the values are wrong.
    """
    with files_of(root, in_place=asked.in_place) as tree:
        if not asked.in_place and not os.path.lexists(tree / paths.CACHE):
            (tree / paths.CACHE).symlink_to(root.resolve() / paths.CACHE)  # as in a run's own copy
        values = profiles.overlaid(tree, asked.profile, asked.overrides)
        fates = plan.fates(tree, values, in_place=asked.in_place, force=asked.force)
        yield Planned(root, tree, asked, values, fates)


def look_in_flow(root: Path, tree: Path, asked: Mode, *, force: bool, log: Callable[[str], None]) -> None:
    """Look at what the flow needs, unless the command that started it has done so.

    Args:
        root: the user's repository.
        tree: the folder that the stages run in.
        asked: what becomes of a problem; instead of fail, what `preflight.VARIABLE` says.
        force: whether every stage runs.
        log: function that is called with each line.

    Raises:
        NotReady: something is missing, and the run is not to begin then.
    """
    named = preflight.mode(asked)
    if named == "off":
        return
    # Who asks for warn has said so; fail is also what nobody has asked for.
    asked = "warn" if "warn" in (asked, named) else "fail"
    values = reading.read_values(tree / paths.PARAMS)
    fates = plan.fates(tree, values, in_place=tree == root, force=force)
    preflight.look(root, values, fates, tell=log, refuse=asked == "fail", otherwise=_OTHERWISE, tree=tree)


def _print(line: str) -> None:
    print(printable(hidden(line)), flush=True)


@contextlib.contextmanager
def files_of(root: Path, *, in_place: bool) -> Iterator[Path]:
    """The folder itself, or the files of its last commit, in which a run with other values works."""
    if in_place:
        yield root
        return
    with temporary.folder() as folder:
        archive = folder / "commit.tar"
        git.do(root, "archive", "--format=tar", f"--output={archive}", "HEAD", fix=_FIX)
        shutil.unpack_archive(archive, folder / "tree", filter="data")
        yield folder / "tree"
