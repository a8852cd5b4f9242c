"""Put a profile's values over params.yaml: `python -m flows.profiles NAME`.

The comments of params.yaml stay. The merged values are checked before anything is written.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from stages.common import paths
from stages.common.errors import ConfigError
from stages.common.files import atomic_file
from stages.common.printable import printable
from stages.params import options, reading, whole
from stages.running import program, writable
from stages.running.arguments import Parser

#: The choice that leaves params.yaml as it is.
CURRENT = "current"


def known(root: Path) -> list[str]:
    """The names of the profiles in ``root``."""
    return sorted(path.stem for path in (root / paths.PROFILES).glob("*.yaml"))


def by_option(key: str) -> str:
    """How a value of the command line was given."""
    return f"--set {key}=..."


def by_form(key: str) -> str:
    """How a value of a deployed run was given."""
    return f"{key} in the run's overrides"


#: What names how the value with a dotted key was given.
Giver = Callable[[str], str]


def overlaid(root: Path, profile: str, overrides: Mapping[str, object], given_as: Giver = by_option) -> Any:
    """The values of params.yaml with a profile's, and then single values, put over them; checked.

    Args:
        root: folder of params.yaml and profiles/.
        profile: name of a profile, or `CURRENT`.
        overrides: values by dotted key, ``{"finetune.epochs": 3}``, or nested, ``{"finetune": {"epochs": 3}}``.
        given_as: function that names how a value of ``overrides`` was given, for messages.

    Returns:
        The tree of ruamel, with its comments; `to_text` writes it.

    Raises:
        ConfigError: the profile does not exist, a file is not YAML, a key is unknown or a value is wrong.
    """
    tree = reading.read_yaml(root / paths.PARAMS)
    own = reading.flatten(tree)
    sources = [str(paths.PARAMS)]
    if profile != CURRENT:
        path = root / paths.PROFILES / f"{profile}.yaml"
        if profile not in known(root):
            raise ConfigError(
                f"{profile}: no such profile; there are {', '.join(known(root)) or 'none'}", f"ls {paths.PROFILES}"
            )
        _merge(tree, reading.read_yaml(path), path)
        sources.append(str(path.relative_to(root)))
    if overrides:
        _merge(tree, options.nested(overrides), "overrides")
        sources.append("the overrides given")
    given = givers(root, profile, overrides, given_as)

    def given_by(wrong: str, problem: str) -> str:
        blamed = _blamed(given, wrong, problem) or _beside(given, wrong, own)
        return ", ".join(dict.fromkeys(given[key] for key in blamed)) or str(paths.PARAMS)

    whole.check(tree, " with ".join(sources), given_by=given_by)
    return tree


def seeds_of(values: Any, trainings: int) -> range:
    """The seeds of some trainings of one recipe, counted up from its own.

    Args:
        values: the recipe, as from `overlaid`.
        trainings: how many they are.

    Raises:
        ConfigError: the last one is beyond the bound of finetune.seed.
    """
    tree = reading.plain(values)
    first = int(tree["finetune"]["seed"])
    tree["finetune"]["seed"] = first + trainings - 1
    whole.check(tree)
    return range(first, first + trainings)


def givers(root: Path, profile: str, overrides: Mapping[str, object], given_as: Giver = by_option) -> dict[str, str]:
    """The origin of each value that `overlaid` puts over params.yaml, by dotted key: the profile's file, or a door's.

    Arguments and errors are those of `overlaid`.
    """
    found: dict[str, str] = {}
    if profile != CURRENT:
        path = paths.PROFILES / f"{profile}.yaml"
        found = dict.fromkeys(reading.flatten(reading.read_values(root / path)), str(path))
    return found | {key: given_as(key) for key in reading.flatten(options.nested(overrides))}


def named(keys: Iterable[str], text: str) -> list[str]:
    """The keys that occur in a text."""
    return [key for key in keys if re.search(rf"(?<![\w.]){re.escape(key)}(?![\w.]*\w)", text)]


def _blamed(keys: Iterable[str], wrong: str, problem: str) -> list[str]:
    """The keys that an error is about.

    Those at or above the wrong key, and those below it; where the wrong key is a section, of those below it only the
    ones that the message names.

    Args:
        keys: dotted keys that were given.
        wrong: dotted key of the error; empty for params.yaml as a whole.
        problem: the message.

    >>> _blamed(["judge.seed", "finetune.accumulate"], "finetune", "finetune: accumulate (9) cannot be more than ...")
    ['finetune.accumulate']
    """
    prefix = f"{wrong}." if wrong else ""
    if not wrong or any(known.startswith(prefix) for known in whole.known_keys()):
        inside = {key.removeprefix(prefix): key for key in keys if key.startswith(prefix)}
        about = [inside[key] for key in named(inside, problem.removeprefix(f"{wrong}: "))]
    else:
        about = [key for key in keys if key.startswith(prefix)]
    return about + [key for key in keys if f"{wrong}.".startswith(f"{key}.")]


def _beside(keys: Iterable[str], missing: str, own: Mapping[str, object]) -> list[str]:
    """The keys that were given in the section of a missing key, where params.yaml itself has no such section.

    Args:
        keys: dotted keys that were given.
        missing: the dotted key of the error.
        own: values of params.yaml by dotted key.

    >>> _beside(["finetune.lora.rank", "judge.seed"], "finetune.lora.alpha", {"finetune.lora": None})
    ['finetune.lora.rank']
    """
    section = missing.rpartition(".")[0]
    return [key for key in keys if key.startswith(f"{section}.")] if section in own else []


def to_text(tree: Any) -> str:
    """A tree of ruamel as YAML, with its comments, in the form that DVC gives params.yaml (`dvc exp run -S`).

    Null is an empty value, a list has an item a line, and a number is written as Python writes it.
    """
    yaml = YAML()
    yaml.default_flow_style = False
    stream = io.StringIO()
    _unstyled(tree)
    yaml.dump(tree, stream)
    return stream.getvalue()


def _unstyled(tree: Any) -> None:
    """Replace ruamel's values, which keep how they were written, by plain ones; comments are kept by the mappings."""
    for key, value in tree.items():
        if isinstance(value, CommentedMap):
            _unstyled(value)
        else:
            tree[key] = reading.plain(value)


def _merge(tree: Any, overlay: Any, source: Path | str) -> None:
    if not isinstance(overlay, Mapping):
        raise ConfigError(f"{source}: expected keys and values, found {type(overlay).__name__}", f"correct {source}")
    reading.merge(tree, overlay)


def main() -> None:
    """Put a profile's values over params.yaml of the working directory, and print every value that changes.

    Raises:
        ConfigError: there is no such profile, or params.yaml would be wrong with it.
        InputOutputError: the folder cannot be written.
    """
    parser = Parser(prog="python -m flows.profiles", description=__doc__)
    parser.add_argument("profile", metavar="NAME", help="the profile: a file of profiles/, without .yaml")
    profile = parser.parse_args().profile
    root = Path.cwd()
    writable.require(root)
    before = reading.flatten(reading.read_values(root / paths.PARAMS))
    tree = overlaid(root, profile, {})
    after = reading.flatten(tree)
    changed = {key: value for key, value in after.items() if key not in before or before[key] != value}
    if not changed:
        print(printable(f"{paths.PARAMS} has the values of {profile} already"))
        return
    with atomic_file(root / paths.PARAMS) as stream:
        stream.write(to_text(tree))
    width = max(map(len, changed))
    for key, value in changed.items():
        print(printable(f"{key:<{width}}  {before.get(key)} -> {value}"))


if __name__ == "__main__":
    program.run("profile", main)
