"""Names that tell runs apart: what differs from the commit in words, and a short name, as ``lr=0.002 (calm-otter)``.

The short name is that of Prefect's run or of the DVC experiment, or else the time. It is unique, and is enough wherever
a run is named.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stages.common.printable import printable
from stages.params import reading
from stages.params.differences import ABSENT, differences, shown
from stages.running import committed

#: Characters that a name has for what differs, and that a value has in it; more of it is in the run's tag.
_MOST = 60
_MOST_OF_A_VALUE = 24
#: How the field abbreviates a key.
_SHORT = {"learning_rate": "lr"}
_PROFILE = "profile"
_FULL = re.compile(r".*\((?P<short>[^()]+)\)")


def differing(
    root: Path, commit: str, values: Mapping[str, Any], without: Collection[str] = ()
) -> dict[str, str] | None:
    """The values of a run that differ from those of params.yaml in a commit, by dotted key.

    Of a run with another profile than the commit's: those that differ from that profile, and the profile.

    Args:
        root: folder in the repository, with profiles/.
        commit: the commit; empty where it is not known.
        values: the run's values, as the tree of params.yaml.
        without: dotted keys whose values are not those of the run.

    Returns:
        None where the values of the commit are not known.
    """
    there = committed.values(root, commit) if commit else None
    if there is None:
        return None
    base = reading.plain(there)
    profile = values.get(_PROFILE)
    if profile != base.get(_PROFILE) and (overlay := _profile(root, str(profile))):
        changed = {_PROFILE: str(profile)}
        reading.merge(base, overlay)
        base[_PROFILE] = profile
    else:
        changed = {}
    found = differences(base, values)
    return changed | {key: shown(here) for key, _, here in found if here is not ABSENT and key not in without}


def in_words(found: Mapping[str, str], values: Mapping[str, Any], most: int | None = None) -> str:
    """Values that differ, by names as short as they can be: ``lr=0.002 epochs=2``; a profile is its name alone.

    Args:
        found: result of `differing`.
        values: the tree of params.yaml, by whose keys a short name is known to be unique.
        most: the largest number of characters; what does not fit is counted.
    """
    profile = [found[_PROFILE]] if _PROFILE in found else []
    others = {key: value for key, value in found.items() if key != _PROFILE}
    parts = [*profile, *assigned(others, reading.flatten(values))]
    for kept in range(len(parts), 0, -1):
        left_out = [f"+{len(parts) - kept}"] if kept < len(parts) else []
        text = " ".join([*parts[:kept], *left_out])
        if most is None or len(text) <= most:
            return text
    return f"{parts[0][: (most or 0) - 3]}..."


def assigned(found: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """Each value by a name as short as it can be, and cut where it is long: ``["lr=0.002", "epochs=2"]``.

    Args:
        found: values as they are shown, by dotted key.
        known: the dotted keys of all values, by which a short name is known to be unique.
    """
    keys = [key.split(".") for key in known]
    # Seeds last: they tell trainings of one recipe apart, and the other values tell recipes apart.
    order = sorted(found, key=lambda key: key.endswith(".seed"))
    return [f"{_short(key, keys)}={_cut(found[key])}" for key in order]


def full(found: Mapping[str, str] | None, values: Mapping[str, Any], short: str) -> str:
    """The name of a run: what differs, or the profile where nothing does or it is not known; and its short name."""
    words = in_words(found, values, _MOST) if found else str(values.get(_PROFILE, ""))
    return f"{printable(words)} ({short})"


def short_of(name: str) -> str:
    """The short name within the name of a run; the name itself where it has none.

    >>> short_of("lr=0.002 epochs=2 (calm-otter)")
    'calm-otter'
    """
    found = _FULL.fullmatch(name)
    return found["short"] if found else name


def of_time() -> str:
    """A short name for a run that has no other: when it began, in UTC."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def _profile(root: Path, name: str) -> dict[str, Any]:
    """The values of a profile; none where there is no such file."""
    path = root / "profiles" / f"{name}.yaml"
    if Path(name).name != name or not path.is_file():
        return {}
    found: dict[str, Any] = reading.plain(committed.tree_of(path.read_text(encoding="utf-8")) or {})
    return found


def _short(key: str, keys: list[list[str]]) -> str:
    """The last parts of a key that no other key ends with."""
    parts = key.split(".")
    for count in range(1, len(parts) + 1):
        end = parts[-count:]
        if sum(other[-count:] == end for other in keys) <= 1:
            return ".".join([*end[:-1], _SHORT.get(end[-1], end[-1])])
    return key


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_OF_A_VALUE else f"{text[: _MOST_OF_A_VALUE - 3]}..."
