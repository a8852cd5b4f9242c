"""The data that a run has read, put into a copy of its commit; what DVC's cache lacks is pulled from a remote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from flows import dvc_cli
from stages.common import dvc_config
from stages.common.errors import DataError
from stages.common.files import atomic_file
from stages.common.secrecy import hidden
from stages.running import digests, dvc_yaml, lock
from stages.running.lock import Output
from stages.running.restore import put_back

#: How DVC begins the line that says what is wrong.
_ERROR = "ERROR: "


class Settled(NamedTuple):
    """Data that are in place.

    Args:
        file: the .dvc file that names them.
        line: where they come from, for a person.
        imports: whether DVC is still to import them, as a stage does.
    """

    file: str
    line: str
    imports: bool


def settle(tree: Path, stages: Mapping[str, Any], *, name: str) -> Iterator[Settled]:
    """Put in place what .dvc files name, with the digests that the stages of a dvc.lock have read.

    Args:
        tree: copy of the run's commit.
        stages: entries of the run's dvc.lock, by stage.
        name: name of the run, for messages.

    Raises:
        DataError: the data are in none of the places: the commit, DVC's cache, a remote.
    """
    read = {
        str(one["path"]): str(one["md5"])
        for entry in stages.values()
        for one in entry.get("deps") or ()
        if "md5" in one
    }
    for file in sorted(tree.glob("*.dvc")):
        if not file.is_file():
            continue  # .dvc itself is a folder
        for one in dvc_yaml.imports_of(file):
            wanted = read.get(str(one.path), one.digest)
            there = None if one.source is None else digests.digest(tree / one.source)
            if wanted is None or there == wanted:
                yield Settled(file.name, f"{one.path} as in the commit's {one.source}", imports=True)
                continue
            place, why = _from_dvc(tree, file, Output(one.path, wanted))
            if not place:
                raise DataError(
                    f"{name}: its data are gone: {one.path} with the MD5 {wanted} is not in the commit, in DVC's cache "
                    f"or in a remote{why}" + (f"; the commit's {one.source} is {there}" if there else ""),
                    "dvc push where the run was made, and here dvc remote add -d NAME ADDRESS; then the same command",
                )
            yield Settled(file.name, f"{one.path} from {place}, by its MD5 {wanted[:7]}", imports=False)


def _from_dvc(tree: Path, file: Path, output: Output) -> tuple[str, str]:
    """Put an output in place from DVC's cache, to which it is pulled if need be; where it was, or else why not."""
    place, why = "DVC's cache", ""
    if not in_cache([output]):
        own = file.read_text(encoding="utf-8")
        _name(file, output)
        why = fetch(tree, [file.name])
        with atomic_file(file) as stream:
            stream.write(own)
        if not in_cache([output]):
            return "", why
        place = "a remote"
    found = lock.files(output, name=file.name, fix="dvc pull")
    put_back([(tree / path, kept) for path, kept in found])
    return place, why


def in_cache(outputs: Iterable[Output]) -> bool:
    """Whether DVC's cache has all of these outputs, each folder with its files."""
    return all(kept.is_file() for one in outputs for _, kept in lock.files(one, name="dvc.lock", fix="dvc pull"))


def fetch(tree: Path, targets: Iterable[str]) -> str:
    """Let DVC bring into its cache what a remote has of some stages, outputs or .dvc files.

    Returns:
        Why no remote could be asked, to be put after "a remote", such as `` (none is set up)``. Empty where one was
        asked, which need not have had anything.

    Raises:
        ConfigError: DVC's configuration cannot be read.
    """
    if not dvc_config.read(tree).remotes.named:
        return " (none is set up)"
    said = dvc_cli.ask(tree, "fetch", *targets).stderr.splitlines()
    wrong = next((line.removeprefix(_ERROR) for line in said if line.startswith(_ERROR)), "")
    return f" (dvc fetch: {hidden(wrong)})" if wrong else ""


def _name(file: Path, output: Output) -> None:
    """Let a .dvc file of the copy name another version of its output."""
    yaml = YAML()
    content = yaml.load(file)
    for one in content["outs"]:
        if Path(str(one["path"])) == output.path:
            one["md5"] = output.digest
            one.pop("size", None)
            one.pop("nfiles", None)
    with atomic_file(file) as stream:
        yaml.dump(content, stream)
