"""Corrects what DVC has recorded wrongly: values or code that were edited between a stage's end and DVC's hashing.

A stage compares what it read with what is there until its process ends (`stages.running.held`). DVC hashes a fraction
of a second later. What is edited in between would be in dvc.lock and in DVC's run cache, beside outputs that were made
without it. So the record is compared with what the run began with: by the flow after each stage, under `dvc repro` by
each later stage, and after its last stage by the next program of ours.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.common import paths
from stages.params import reading
from stages.running import digests, dvc_yaml, inputs, lock, run_cache
from stages.running.console import say
from stages.running.inputs import MISSING, Begun
from stages.running.tracking import execution

#: What is said of a record that was corrected.
CORRECTED = "edited before DVC recorded this stage, which had ended; dvc.lock has what the stage read:"


def correct(stage: str, begun: Begun, root: Path = Path()) -> list[str]:
    """Give a stage's entry in dvc.lock what the run began with, and remove a wrong one from DVC's run cache.

    Args:
        stage: name of a stage that the run has run, and DVC has recorded.
        begun: what the run began with.
        root: folder with dvc.lock.

    Returns:
        A line for each value and each file that the entry had otherwise; none if it is right, or there is none.
    """
    entry = lock.entries(root).get(stage, {})
    found = _differences(entry, begun)
    if found:
        run_cache.forget(root, entry)
        _correct(root, stage, begun)
    return found


def note(stage: str) -> str:
    """What a stage that has succeeded leaves for `look_back`: where it ran, and the MD5 of its small outputs."""
    entry = dvc_yaml.entry_of(stage)
    outs = entry.outs if entry else ()
    small = [out for out in outs if out.is_file() and out.stat().st_size <= inputs.HASHED_BYTES]
    return json.dumps({"root": str(Path.cwd()), "outs": {out.as_posix(): digests.md5(out) for out in small}})


def look_back(root: Path = Path()) -> None:
    """Correct wrong records of the stages of every `dvc repro` that has ended; each is told in a line.

    Args:
        root: folder with dvc.lock and .cache.
    """
    for folder in (root / execution.MARKS).glob("*:*:*:*"):
        # Bookkeeping fails no program; a folder may be removed at this moment.
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            if execution.is_gone(folder.name):
                begun = Begun.from_json((folder / execution.FIRST).read_text(encoding="utf-8"))
                for stage in begun.stages:
                    if (folder / stage).exists():
                        _look_at(stage, begun, json.loads((folder / stage).read_text(encoding="utf-8")), root)


def tell(stage: str, lines: list[str]) -> None:
    """Say what was corrected."""
    for line in lines:
        say(f"{stage}: {CORRECTED} {line}")


def _look_at(stage: str, begun: Begun, noted: Mapping[str, Any], root: Path) -> None:
    recorded = {out["path"]: out["md5"] for out in lock.entries(root).get(stage, {}).get("outs", ())}
    # Otherwise the entry is not the one of that run.
    of_that_run = noted["outs"] and all(recorded.get(path) == digest for path, digest in noted["outs"].items())
    if noted["root"] == str(root.resolve()) and of_that_run:
        tell(stage, correct(stage, begun, root))


def _differences(entry: Mapping[str, Any], begun: Begun) -> list[str]:
    recorded = _recorded_values(entry)
    expected = reading.flatten({key: begun.section(key) for key in recorded})
    recorded = reading.flatten(recorded)
    values = [
        f"{key} was {_shown(expected, key)}, and is {_shown(recorded, key)} now"
        for key in sorted({*recorded, *expected})
        if str(recorded.get(key, MISSING)) != str(expected.get(key, MISSING))
    ]
    files = {dep["path"]: dep.get("md5") for dep in entry.get("deps", ())}
    changed = (path for path in sorted(files) if path in begun.code and begun.code[path] != files[path])
    return [*values, *changed]


def _recorded_values(entry: Mapping[str, Any]) -> dict[str, object]:
    """The values of params.yaml in an entry, by the keys that dvc.yaml names."""
    return dict((entry.get("params") or {}).get(str(paths.PARAMS)) or {})


def _shown(values: Mapping[str, object], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False, default=str) if key in values else MISSING


def _correct(root: Path, stage: str, begun: Begun) -> None:
    def change(entry: dict[str, Any]) -> None:
        for key in _recorded_values(entry):
            entry["params"][str(paths.PARAMS)][key] = begun.section(key)
        for dep in entry.get("deps", ()):
            if begun.code.get(dep["path"], dep.get("md5")) != dep.get("md5"):
                dep["md5"] = begun.code[dep["path"]]
                dep.pop("size", None)  # of the other content

    lock.write_entry(root, stage, change)
