"""DVC's run cache, asked once more by the stage itself where DVC does not look into it.

DVC keeps there which outputs a command has made of which inputs. It looks for an entry if dvc.lock names other inputs
than there are. If dvc.lock names these very inputs, DVC takes only the outputs that dvc.lock names too, and runs the
command where its cache lacks them (`StageCache.restore`, DVC 3.67). In a fresh clone it always lacks them: the
committed dvc.lock is another machine's, whose training has other bytes. So a training that was done on this machine
would be done again by each run that begins with the committed file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickletools
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from stages.common.errors import ConfigError, DataError
from stages.params import reading
from stages.running import digests, dvc_cache, dvc_yaml, git, lock
from stages.running.console import say
from stages.running.restore import put_back
from stages.running.tracking import execution

#: Keys that DVC leaves out of an entry's name.
_LEFT_OUT = frozenset({"size", "nfiles"})
#: Short options of `dvc repro` and `dvc exp run` that take a value: what follows them is no option.
_WITH_VALUE = "SnmCjM"
#: Where DVC keeps the options of a queued experiment: its process has a file's name alone on its command line.
_PACKED = "refs/exps/exec/EXEC_MERGE:./.dvc/tmp/repro.dat"


def restored(stage: str) -> bool:
    """Put back what a stage has made of these very inputs before, if this machine has it; called before its work.

    Args:
        stage: name of the stage, which DVC runs.

    Returns:
        Whether its outputs are in place. They are not if nothing is found, if an output or an input is not what it
        should be, or if DVC was told to run the stage whatever is there.
    """
    try:
        entry = lock.entries()[stage]
        found = next(_complete(entry, stage), None)
        if found is None or not _is_current(entry, stage) or forced():
            return False
    except (OSError, ConfigError, DataError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return False  # a dvc.lock or an entry that DVC did not write
    try:
        put_back(found)
    except OSError:  # of the disk, which the stage itself tells better
        return False
    # The flow takes these words for DVC's own.
    say(f"Stage '{stage}' is cached - skipping run: it has run with the same inputs on this machine")
    return True


def forced() -> bool:
    """Whether DVC was told to run stages whatever is there, or cannot be asked: a program uses it as a library."""
    above = execution.up_to_dvc()
    if not above:
        return True
    try:
        words = above[-1].cmdline()
    except psutil.Error:  # it has ended, as this stage will
        return True
    return _asks(words) or ("exec-run" in words and _packed_asks())


def key(entry: Mapping[str, Any]) -> str:
    """The name of a stage's entries in the run cache: a hash of its command, its inputs and the paths of its outputs.

    Args:
        entry: the stage in a dvc.lock.
    """
    tree = {**entry, "outs": [out["path"] for out in entry["outs"]]}
    return hashlib.sha256(json.dumps(_without(tree), sort_keys=True).encode()).hexdigest()


def _without(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_without(one) for one in tree]
    if isinstance(tree, dict):
        return {name: _without(one) for name, one in tree.items() if name not in _LEFT_OUT}
    return tree


def kept(entry: Mapping[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The runs with the command and the inputs of an entry, the newest first: each with its file in the run cache.

    Args:
        entry: a stage in a dvc.lock, or its command, its inputs and the paths of its outputs.
    """
    name = key(entry)
    folder = dvc_cache.folder() / "runs" / name[:2] / name
    if folder.is_dir():
        for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True):
            yield path, lock.tree_of(path.read_text(encoding="utf-8"))


def forget(root: Path, entry: Mapping[str, Any]) -> None:
    """Remove an entry from the run cache, by which DVC would take its outputs for its values.

    Args:
        root: folder of the repository.
        entry: command, inputs and outputs, as in dvc.lock.
    """
    wanted = {name: entry.get(name) for name in ("cmd", "params", "deps", "outs")}
    for path in (dvc_cache.folder(root) / "runs").rglob("*"):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if path.is_file():
                found = lock.tree_of(path.read_text(encoding="utf-8"))
                if {name: found.get(name) for name in wanted} == wanted:
                    path.unlink()


def _complete(entry: Mapping[str, Any], stage: str) -> Iterator[list[tuple[Path, Path]]]:
    """The files of each run with these inputs whose outputs are all in the cache, as in `lock.files`; newest first."""
    for path, found in kept(entry):
        outputs = lock.outputs_in({"stages": {stage: found}}, stage, name=str(path), fix=f"rm {path}")
        files = [one for output in outputs for one in lock.files(output, name=str(path), fix=f"rm {path}")]
        # A file of the cache could have been edited: DVC would then keep it under another name, as if it were new.
        if all(source.is_file() and digests.md5(source) == source.parent.name + source.name for _, source in files):
            yield files


def _is_current(entry: Mapping[str, Any], stage: str) -> bool:
    """Whether the inputs that a dvc.lock names are those that are there."""
    asked = dvc_yaml.entry_of(stage)
    deps = {Path(dep["path"]): dep["md5"] for dep in entry["deps"]}
    params: Mapping[str, Any] = entry.get("params", {})
    return (
        asked is not None
        and asked.cmd == entry["cmd"]
        and set(asked.deps) == set(deps)
        and set(asked.outs) == {Path(out["path"]) for out in entry["outs"]}
        and {str(file): set(keys) for file, keys in asked.keys.items()} == {file: set(params[file]) for file in params}
        and all(_values(file, names) == names for file, names in params.items())
        and all(digests.digest(path) == digest for path, digest in deps.items())
    )


def _values(file: str, names: Mapping[str, object]) -> dict[str, object]:
    """The values of a params file that a stage depends on, by the dotted keys that it names."""
    tree = reading.read_values(Path(file))
    found = {}
    for name in names:
        value = tree
        for part in name.split("."):
            value = value[part]
        found[name] = value
    return found


def _asks(words: Sequence[str]) -> bool:
    """Whether a command line of dvc tells it to run stages whatever is there."""
    for word in words:
        if word in ("--force", "--force-downstream", "--no-run-cache"):
            return True
        if word.startswith("-") and not word.startswith("--"):
            flags = next((word[1:at] for at, letter in enumerate(word) if letter in _WITH_VALUE), word[1:])
            if "f" in flags:
                return True
    return False


def _packed_asks() -> bool:
    """Whether a queued experiment is to run whatever is there; also where that cannot be read."""
    try:
        packed = git.do_with_bytes(Path(), "show", _PACKED, fix="dvc exp run")
        return _is_true(packed, "force") or _is_true(packed, "force_downstream")
    except (ConfigError, ValueError):
        return True


def _is_true(packed: bytes, name: str) -> bool:
    """Whether an option is true in a pickle of DVC's, which is taken apart and not loaded.

    Raises:
        ValueError: it is no pickle.
    """
    steps = [step for step in pickletools.genops(packed) if "PUT" not in step[0].name and step[0].name != "MEMOIZE"]
    return any(found == name and then[0].name == "NEWTRUE" for (_, found, _), then in pairwise(steps))
