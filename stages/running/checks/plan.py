"""What a run would do: which stages are up to date, which come from DVC's cache, and which run.

DVC itself is not asked: a stage looks while DVC holds its own lock, and each of its commands takes seconds. Its rules
are applied to the same files (DVC 3.67): dvc.yaml, dvc.lock, the .dvc files, and the run cache, whose keys are hashes
of a stage's command, dependencies, values and paths (dvc/stage/cache.py). A test compares this with what DVC does.

A large output in the folder counts as unchanged if it has its size: DVC, which keeps the times of files, hashes it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Literal

from stages.common import paths
from stages.running import digests, dvc_cache, dvc_yaml, lock, run_cache
from stages.running.dvc_yaml import Entry

Fate = Literal["up to date", "from cache", "to run"]

#: Files of the folder up to this size are hashed; of a larger one the size is compared.
_HASHED = 1 << 22


def fates(tree: Path, values: Mapping[str, object], *, in_place: bool, force: bool = False) -> dict[str, Fate]:
    """What becomes of each stage, in the order in which they run.

    Args:
        tree: folder with dvc.yaml, dvc.lock and the code.
        values: params.yaml, as a tree.
        in_place: whether the outputs are in ``tree`` too, as they are in the user's own folder.
        force: whether every stage runs anyway.
    """
    stages = dvc_yaml.entries(tree)
    locked = lock.entries(tree)
    known = dict(_imported(tree))
    found: dict[str, Fate] = {}
    for name in _ordered(stages):
        stage = stages[name]
        outputs = None if force else _outputs(stage, locked.get(name), known, tree, values, in_place)
        found[name] = "to run" if outputs is None else outputs[0]
        known |= dict.fromkeys(map(str, stage.outs)) if outputs is None else outputs[1]
    return found


def closure(tree: Path, targets: Sequence[str]) -> set[str]:
    """The named stages and those that they read from."""
    stages = dvc_yaml.entries(tree)
    before = _before(stages)
    found: set[str] = set()
    waiting = [name for name in targets if name in stages]
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting += before[name] - found
    return found


def _outputs(
    stage: Entry,
    locked: Mapping[str, Any] | None,
    known: Mapping[str, str | None],
    tree: Path,
    values: Mapping[str, object],
    in_place: bool,
) -> tuple[Fate, dict[str, str]] | None:
    """What becomes of a stage that does not run, and the hashes of its outputs; None for one that runs."""
    deps = {dep: known[dep] if dep in known else _hash(tree / dep) for dep in map(str, stage.deps)}
    keys = stage.keys.get(paths.PARAMS, ())
    if None in deps.values():
        return None
    # DVC leaves out what a stage does not have.
    entry: dict[str, Any] = {"cmd": stage.cmd}
    if deps:
        entry["deps"] = [{"hash": "md5", "md5": deps[dep], "path": dep} for dep in sorted(deps)]
    if keys:
        entry["params"] = {str(paths.PARAMS): {key: _value(values, key) for key in sorted(keys)}}
    if locked is not None and _without_sizes(locked) == entry:
        outs = {out["path"]: out for out in locked.get("outs", [])}
        there = in_place and all(_is_there(tree / path, out) for path, out in outs.items())
        if there or _cached(outs.values()):
            return "up to date" if there else "from cache", {path: out["md5"] for path, out in outs.items()}
    named = {"outs": [{"path": out} for out in sorted(map(str, stage.outs))]}
    kept = _kept_run(entry | named, all_of_them=_without_sizes(locked) == entry)
    return None if kept is None else ("from cache", {out["path"]: out["md5"] for out in kept})


def _without_sizes(locked: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An entry of dvc.lock without outputs, sizes and numbers of files."""
    if locked is None:
        return None
    kept = {key: value for key, value in locked.items() if key != "outs"}
    if "deps" in kept:
        kept["deps"] = [{key: dep[key] for key in ("hash", "md5", "path") if key in dep} for dep in kept["deps"]]
    return kept


def _kept_run(entry: Mapping[str, Any], *, all_of_them: bool) -> list[Any] | None:
    """The outputs of an earlier run with the same inputs, by DVC's run cache; None where its cache lacks them.

    Args:
        entry: command, inputs, and paths of the outputs, as in dvc.lock.
        all_of_them: whether the newest run counts whose outputs are there, as for `stages.running.run_cache`; DVC
            itself takes the newest one or none.
    """
    try:
        runs = run_cache.kept(entry)
        kept = (list(run["outs"]) for _, run in (runs if all_of_them else itertools.islice(runs, 1)))
        return next((outs for outs in kept if _cached(outs)), None)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _cached(outs: Any) -> bool:
    """Whether DVC's cache has outputs, each folder with its files."""
    return all(_is_cached(str(out["md5"])) for out in outs)


def _is_cached(digest: str) -> bool:
    entry = dvc_cache.folder() / "files" / "md5" / digest[:2] / digest[2:]
    if not entry.is_file():
        return False
    if not digest.endswith(".dir"):
        return True
    try:
        return all(_is_cached(str(one["md5"])) for one in json.loads(entry.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError):
        return False


def _is_there(path: Path, out: Mapping[str, Any]) -> bool:
    """Whether an output in the folder is as dvc.lock says."""
    if not path.exists():
        return False
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    if size != out.get("size", size) or len(files) != out.get("nfiles", len(files)):
        return False
    return size > _HASHED or _hash(path) == out["md5"]


def _imported(tree: Path) -> Iterator[tuple[str, str | None]]:
    """The hashes of what .dvc files bring in: of a folder that is imported, as it is; else as the file says."""
    for one in dvc_yaml.imports(tree):
        yield str(one.path), one.digest if one.source is None else _hash(tree / one.source)


def _hash(path: Path) -> str | None:
    """DVC's hash of a file or folder; None where there is none."""
    return digests.digest(path) if path.exists() else None


def _value(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _ordered(stages: Mapping[str, Entry]) -> list[str]:
    """The names of the stages, each after those that it reads from."""
    try:
        return list(TopologicalSorter(_before(stages)).static_order())
    except CycleError:
        return list(stages)


def _before(stages: Mapping[str, Entry]) -> dict[str, set[str]]:
    """The stages that each stage reads from."""
    maker = {out: name for name, stage in stages.items() for out in stage.outs}
    return {name: {maker[dep] for dep in stage.deps if dep in maker} for name, stage in stages.items()}
