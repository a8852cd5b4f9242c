"""What undisturbed runs recorded, and whether all that a disturbed clone has recorded agrees with it.

A record says which outputs came of which command, values and inputs. It is in dvc.lock, in DVC's run cache and in the
dvc.lock of each MLflow run. A record is wrong if an undisturbed run with the same values and inputs had other outputs,
or if no undisturbed run had these values and inputs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.params import reading, whole
from tests.faults.clones import Clone, expect
from tests.small_pipeline import read_yaml


class Truth:
    """What undisturbed runs made."""

    def __init__(self) -> None:
        self._outputs: dict[str, str] = {}
        #: By the values of params.yaml, as MLflow shows them: the MD5 of every output file.
        self.files: dict[str, dict[str, str]] = {}

    def learn(self, clone: Clone) -> None:
        """Take what a clone made in which nothing was disturbed."""
        lock = clone.lock()
        expect(lock, "an undisturbed run has recorded nothing")
        for entry in lock.values():
            self._outputs[_key(entry)] = _outputs(entry)
        outs = [out for entry in lock.values() for out in entry.get("outs", ())]
        self.files[as_text(shown_values(clone.root))] = {out["path"]: out["md5"] for out in outs}

    def wrong(self, entry: Mapping[str, Any]) -> str:
        """What is wrong with a stage's entry of a dvc.lock; empty if it is what an undisturbed run has."""
        made = self._outputs.get(_key(entry))
        if made is None:
            return "no undisturbed run had these values and inputs"
        return "" if made == _outputs(entry) else "an undisturbed run had other outputs"


def records(root: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All records in a folder: where each is, and its entry."""
    locks = [root / "dvc.lock", *sorted((root / "mlruns").rglob("dvc.lock"))]
    for path in locks:
        for name, entry in ((read_yaml(path) or {}).get("stages") or {}).items() if path.exists() else ():
            yield f"{path.relative_to(root)}, {name}", entry
    for path in sorted((root / ".dvc" / "cache" / "runs").rglob("*")):
        if path.is_file() and (entry := read_yaml(path)):
            yield f"DVC's run cache, {entry.get('cmd')}", entry


def wrong_records(clone: Clone, truth: Truth) -> list[str]:
    """A line for each record of a clone that is wrong."""
    found = ((where, truth.wrong(entry)) for where, entry in records(clone.root))
    return [f"{where}: {what}" for where, what in found if what]


def wrong_files(clone: Clone) -> list[str]:
    """A line for each way in which dvc.lock, files and params.yaml disagree; for a clone whose run is complete."""
    params = reading.read_values(clone.root / "params.yaml")
    found = []
    for stage, entry in clone.lock().items():
        for section, values in entry.get("params", {}).get("params.yaml", {}).items():
            if params[section] != values:
                found.append(f"dvc.lock, {stage}: params.yaml has other values of {section}")
        for kind in ("deps", "outs"):
            for one in entry.get(kind, ()):
                if md5(clone.root / one["path"]) != one["md5"]:
                    found.append(f"dvc.lock, {stage}: {one['path']} is not what it says")
    return found


def md5(path: Path) -> str:
    """The MD5 that DVC has of a file or a folder, computed here; empty if it is missing."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        listed = [{"md5": md5(file), "relpath": file.relative_to(path).as_posix()} for file in files]
        listed.sort(key=lambda one: one["relpath"])
        return hashlib.md5(json.dumps(listed).encode(), usedforsecurity=False).hexdigest() + ".dir"
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() if path.is_file() else ""


def shown_values(root: Path) -> dict[str, str]:
    """The values of params.yaml as MLflow shows them."""
    flat = reading.flatten(whole.load(root / "params.yaml").model_dump())
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in flat.items()}


def as_text(values: Mapping[str, str]) -> str:
    """Values as one text, the same for the same values."""
    return json.dumps(dict(sorted(values.items())))


def _key(entry: Mapping[str, Any]) -> str:
    deps = sorted((dep["path"], dep["md5"]) for dep in entry.get("deps", ()))
    return json.dumps([entry["cmd"], deps, entry.get("params", {})], sort_keys=True)


def _outputs(entry: Mapping[str, Any]) -> str:
    return json.dumps(sorted((out["path"], out["md5"]) for out in entry.get("outs", ())))
