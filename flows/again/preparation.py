"""The copy of a commit in which results are made again: its code, values and data, and what is known to differ here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from flows import dvc_cli, profiles
from flows.again import data
from flows.again.original import Original
from flows.again.rebuild import require_pipeline
from stages.common import paths
from stages.common.errors import ConfigError
from stages.common.files import atomic_file
from stages.params import reading
from stages.running import devices, digests, lock, made_on
from stages.running.history import History, named_in
from stages.running.lock import Recorded

#: Columns of the head of a line, and files that a message names at most.
WIDTH = 12
_MOST = 5


def commit_of(root: Path, found: Original, *, tell: Callable[[str], None]) -> str:
    """The commit that has the code of a run: its own, or another one with the same files.

    Args:
        root: the user's repository.
        found: the run.
        tell: function that is called with a line where it is another commit.

    Raises:
        ConfigError: no commit has it.
    """
    history, named = History(root), named_in(found.lock)
    commit = history.with_code(found.commit, named)
    if commit is None:
        raise _without_code(root, found, history, named)
    if not history.knows(found.commit):
        gone = f"its commit {found.commit[:7]} is not in this repository" if found.commit else "it names no commit"
        tell(f"{'code':<{WIDTH}}{gone}; {commit[:7]} has the same code")
    elif commit != found.commit:
        tell(f"{'code':<{WIDTH}}it was not committed yet when the run began; {commit[:7]} has it")
    elif found.dirty:
        tell(f"{'code':<{WIDTH}}files were changed when the run began, and none that it has read")
    return commit


def put_values(tree: Path, found: Original) -> None:
    """Put a run's values into params.yaml of the copy.

    Args:
        tree: copy of its commit.
        found: the run; where it keeps no params.yaml, its values are put over the commit's.

    Raises:
        ConfigError: the values are wrong for the commit's params.yaml.
    """
    if found.params:
        text = found.params
    else:
        made = {name: section for name, section in found.values.items() if isinstance(section, Mapping)}
        reading.merge(made, Recorded.of_entries(found.lock).values)
        profile = {"profile": found.values["profile"]} if "profile" in found.values else {}
        text = profiles.to_text(profiles.overlaid(tree, profiles.CURRENT, {**profile, **made}))
    with atomic_file(tree / paths.PARAMS) as stream:
        stream.write(text)


def prepare(tree: Path, found: Original, *, tell: Callable[[str], None]) -> list[str]:
    """Put a run's data into the copy, and take out its dvc.lock: nothing counts as made there.

    Args:
        tree: copy of its commit, with its values.
        found: the run.
        tell: function that is called with where the data come from.

    Returns:
        The names of the stages and .dvc files that are to run, in their order.

    Raises:
        ConfigError: the commit's dvc.yaml is not the run's.
        DataError: its data are gone.
    """
    require_pipeline(tree, found.lock, name=found.name)
    settled = list(data.settle(tree, found.lock, name=found.name))
    for one in settled:
        tell(f"{'data':<{WIDTH}}{one.line}")
    order = dvc_cli.stages_in_order(tree)
    in_place = {one.file for one in settled if not one.imports}
    (tree / lock.LOCK).unlink(missing_ok=True)
    return [name for name in order if name not in in_place]


def differences(found: Original) -> list[str]:
    """What is known to differ here from what a run was made on, a line each."""
    if not found.made_on:
        from_cache = ": its results came from DVC's cache" if found.cached else ""
        return [f"not known: of what it was made on nothing is kept{from_cache}"]
    lines = made_on.differences(found.made_on, made_on.here())
    if "processor" not in found.made_on:
        lines.append("of its processor and packages nothing is kept")
    if found.cached:
        stages = ", ".join(found.cached)
        lines.append(f"not known of {stages}, whose results came from DVC's cache, on what they were made")
    if found.on_gpu is None:
        lines.append("not known whether it used a GPU")
    elif found.on_gpu != bool(devices.visible_devices()):
        lines.append("device GPU → CPU: there is none here" if found.on_gpu else "device CPU → GPU")
    return lines


def outputs_in(tree: Path) -> dict[str, dict[Path, str]]:
    """The MD5 of each output that the dvc.lock of a folder names, by path, for each stage."""
    found = lock.all_outputs(lock.entries(tree), name=str(lock.LOCK), fix="dvc repro")
    return {stage: {one.path: one.digest for one in outs} for stage, outs in found.items()}


def _without_code(root: Path, found: Original, history: History, named: Mapping[str, str]) -> ConfigError:
    """The error of a run whose code no commit has: which files, and what can be done."""
    again = f"python -m flows.rerun {found.name}"
    if not history.knows(found.commit):
        what = f"its commit {found.commit} is not in this repository" if found.commit else "it names no commit"
        return ConfigError(
            f"{found.name}: {what}, and {history.told_most(named)} has its code",
            f"git fetch --all, where another clone has it; then {again}",
        )
    wrong = history.differing(found.commit, named)
    files = ", ".join(wrong[:_MOST]) + (f" and {len(wrong) - _MOST} more" if len(wrong) > _MOST else "")
    nowhere = f"its code is in {history.told_most(named)}"
    what = f"{found.name}: {nowhere}: changed since {found.commit[:7]} when it ran: {files}"
    here = all((root / path).is_file() and digests.md5(root / path) == named[path] for path in wrong)
    if here:
        return ConfigError(what, f"this folder has that code: git commit it, then {again}")
    return ConfigError(what, f"git commit that code, if you still have it, on any branch; then {again}")
