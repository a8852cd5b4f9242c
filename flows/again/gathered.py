"""The results that a dvc.lock names, gathered from where they are: a folder, DVC's cache, a remote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flows.again import data
from stages.running import digests, lock
from stages.running.lock import Output
from stages.running.restore import put_back
from stages.running.tracking import mirror

Place = Literal["files", "DVC's cache", "a remote"]


@dataclass(frozen=True)
class Gathered:
    """What was found.

    Attributes:
        places: where each result was.
        missing: the results that are nowhere.
        unasked: why no remote could be asked for them, as `data.fetch` says it.
    """

    places: Mapping[Path, Place]
    missing: tuple[Path, ...]
    unasked: str = ""

    @property
    def told(self) -> str:
        """The places in words, each with the number of results, such as ``DVC's cache 11, a remote 1``."""
        counts = {place: list(self.places.values()).count(place) for place in dict.fromkeys(self.places.values())}
        return ", ".join(f"{place} {count}" for place, count in counts.items())


def gather(
    stages: Mapping[str, Any], into: Path, *, name: str, folder: Path | None, fetch: Callable[[Sequence[Path]], str]
) -> Gathered:
    """Copy the results that a run in MLflow is made of into a folder.

    Args:
        stages: entries of a dvc.lock, by stage.
        into: the folder.
        name: name of the dvc.lock, for messages.
        folder: folder that may have them as files; None for none.
        fetch: function that brings results into DVC's cache, as far as a remote has them; says why none could be asked.

    Raises:
        DataError: a digest or a path of the dvc.lock is not one of DVC's.
    """
    wanted = _named(stages, name)
    places: dict[Path, Place] = {}
    for one in wanted:
        if folder is not None and (folder / one.path).is_file() and digests.md5(folder / one.path) == one.digest:
            put_back([(into / one.path, folder / one.path)])
            places[one.path] = "files"
    places |= _cached([one for one in wanted if one.path not in places], into, name, "DVC's cache")
    unasked = ""
    if left := [one for one in wanted if one.path not in places]:
        unasked = fetch([one.path for one in left])
        places |= _cached(left, into, name, "a remote")
    return Gathered(places, tuple(one.path for one in wanted if one.path not in places), unasked)


def absent(root: Path) -> list[Path]:
    """The results that the dvc.lock of a folder names, and that are not there as files."""
    return [one.path for one in _named(lock.entries(root), str(lock.LOCK)) if not (root / one.path).exists()]


def _named(stages: Mapping[str, Any], name: str) -> list[Output]:
    results = set(mirror.every_result())
    found = lock.all_outputs(stages, name=name, fix="dvc repro").values()
    return [one for outs in found for one in outs if one.path in results]


def _cached(wanted: Sequence[Output], into: Path, name: str, place: Place) -> dict[Path, Place]:
    there = [one for one in wanted if data.in_cache([one])]
    put_back([(into / path, kept) for one in there for path, kept in lock.files(one, name=name, fix="dvc pull")])
    return {one.path: place for one in there}
