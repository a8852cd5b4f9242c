"""Put a profile's values over params.yaml: `python -m flows.profiles NAME`.

The comments of params.yaml stay. The merged values are checked before anything is written.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from stages.common import paths
from stages.common.errors import ConfigError, InputOutputError, PipelineError
from stages.common.files import atomic_file
from stages.common.printable import printable
from stages.params import reading, whole
from stages.running import streams, writable
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
        _merge(tree, nested(overrides), "overrides")
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
    return found | {key: given_as(key) for key in reading.flatten(nested(overrides))}


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


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted key as nested mappings: ``{"a.b": 1}`` becomes ``{"a": {"b": 1}}``."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        reading.merge(tree, value)
    return tree


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``key=value`` and read the value as YAML: 3 and 5e-5 are numbers, null is None, [tuned] is a list.

    Where params.yaml wants a text and no number, the value is a text as it is given: a SHA-256 or the name of a model
    may be made of digits.

    Raises:
        ConfigError: the "=" or the key is missing, or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {text}: expected KEY=VALUE", "--set finetune.epochs=3")
    try:
        read, texts = YAML(typ="safe").load(value), YAML(typ="base").load(value)
    except (YAMLError, ValueError):  # ValueError: a date that does not exist
        raise ConfigError(f"--set {text}: the value is not YAML", "put the value in quotes") from None
    return key, _as_wanted(read, texts, _kind_of(key))


def _kind_of(key: str) -> Any:
    """The type of the value with a dotted key in params.yaml; None for an unknown one."""
    kind: Any = whole.Params
    for part in key.split("."):
        section = next((one for one in _alternatives(kind) if hasattr(one, "model_fields")), None)
        field = section.model_fields.get(part) if section else None
        if field is None:
            return None
        kind = field.annotation
    return kind


def _as_wanted(value: Any, text: Any, kind: Any) -> Any:
    """A value of YAML, or its text where only a text is wanted.

    Args:
        value: the value as YAML reads it.
        text: the same with a text for each number, date and truth value.
        kind: the type that is wanted; None if nothing is known of it.
    """
    wanted = _alternatives(kind)
    if isinstance(value, dict):
        fields: dict[str, Any] = next((one.model_fields for one in wanted if hasattr(one, "model_fields")), {})
        return {
            name: _as_wanted(one, text.get(str(name), one), fields[name].annotation if name in fields else None)
            for name, one in value.items()
        }
    if isinstance(value, list):
        of = next((get_args(one)[0] for one in wanted if get_origin(one) is list), None)
        return [_as_wanted(one, its, of) for one, its in zip(value, text, strict=True)]
    only_text = str in wanted and not {int, float, bool} & set(wanted)
    return text if only_text and value is not None else value


def _alternatives(kind: Any) -> list[Any]:
    """The types that an annotation allows, without bounds; the values of a Literal count by their type."""
    if get_origin(kind) is Annotated:
        return _alternatives(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return [type(value) for value in get_args(kind)]
    if get_origin(kind) in (Union, UnionType):
        return [one for part in get_args(kind) for one in _alternatives(part)]
    return [kind]


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


def main(arguments: list[str]) -> None:
    """Put a profile's values over params.yaml of the working directory, and print every value that changes."""
    parser = Parser(prog="python -m flows.profiles", description=__doc__)
    parser.add_argument("profile", metavar="NAME", help="the profile: a file of profiles/, without .yaml")
    profile = parser.parse_args(arguments).profile
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
    streams.prepare()
    try:
        main(sys.argv[1:])
    except (PipelineError, OSError) as found:
        error = found if isinstance(found, PipelineError) else InputOutputError.of(found)
        print(printable(f"profile: {error}"), file=sys.stderr)
        sys.exit(error.exit_code)
