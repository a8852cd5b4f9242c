"""params.yaml as a tree: reading, merging and flattening it, and the messages for its errors. Knows no section."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from stages.common import mistakes, proposals
from stages.common.errors import ConfigError, DataError
from stages.common.files import read_text
from stages.params.section import Section


def shown(path: Path) -> Path:
    """A path as messages have it: relative to the working directory if it is below that."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def read_values(path: Path) -> Any:
    """Read a YAML 1.2 file as built-in types. In YAML 1.2, unlike 1.1, 5e-5 is a number.

    Raises:
        ConfigError: the file is missing or is not YAML.
    """
    name = shown(path)
    tree = _parsed(name, _text(name))
    try:
        return plain(tree)  # whoever gets it may change it
    except RecursionError:
        raise _too_deep(name) from None


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 file as a tree of ruamel, which keeps its comments, for whoever writes it again.

    Raises:
        ConfigError: the file is missing or is not YAML.
    """
    name = shown(path)
    return _parse(name, _text(name))


def _text(name: Path) -> str:
    try:
        return read_text(name, made_by=f"git checkout -- {name}")
    except DataError as error:
        raise ConfigError(error.what, error.fix) from None


def _parse(name: Path, text: str) -> Any:
    """The tree of a file with some text; errors are those of `read_yaml`."""
    try:
        return YAML().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{name}: not valid YAML{where}: {error.problem}", f"correct {name}") from None
    except ReaderError as error:
        where = f"character {error.position + 1}"
        found = f"U+{error.character:04X}" if isinstance(error.character, int) else repr(error.character)
        what = f"{name}: not valid YAML at {where}: expected a character that YAML allows, found {found}"
        raise ConfigError(what, f"correct {name}") from None
    except YAMLError:
        raise ConfigError(f"{name}: not valid YAML", f"correct {name}") from None
    except RecursionError:
        raise _too_deep(name) from None
    except (ValueError, LookupError, TypeError):  # ruamel lets Python's own errors through: !!int x, 2020-13-45
        what = f"{name}: a value is not what its tag says (such as !!int x), or is a date that does not exist"
        raise ConfigError(what, f"correct {name}") from None


def _too_deep(name: Path) -> ConfigError:
    return ConfigError(f"{name}: lists or mappings are nested too deeply, or in themselves", f"correct {name}")


#: One text is parsed once: params.yaml takes 0.05 s, and a stage reads it several times, to see that it is the same.
_parsed = functools.lru_cache(maxsize=8)(_parse)


def merge(base: dict[str, Any], overlay: Mapping[str, Any]) -> None:
    """Put the values of an overlay over those of ``base``, in place: mappings are merged, other values replaced."""
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping with dotted keys.

    Args:
        tree: the mappings.
        prefix: text before every key.

    >>> flatten({"a": {"b": 1}})
    {'a.b': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def known_keys(section: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key that a section may hold: those of its values and of its nested sections.

    Args:
        section: class of the section.
        prefix: text before every key, such as ``"download."``.
    """
    keys: list[str] = []
    for name, field in section.model_fields.items():
        keys.append(prefix + name)
        if (nested := _section_of(field)) is not None:
            keys += known_keys(nested, f"{prefix}{name}.")
    return keys


def _section_of(field: FieldInfo) -> type[Section] | None:
    """The nested section that a field holds, also one that may be null; None for a value."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


def plain(value: Any) -> Any:
    """Ruamel's containers and scalars, which keep comments, as the built-in types that strict validation needs."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def describe(problem: Any, known: list[str]) -> str:
    """The message for one error, such as ``judge.seed: unknown key; did you mean ...?``.

    Args:
        problem: one of pydantic's errors.
        known: every dotted key of the schema, to suggest the nearest one.
    """
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        if "." in str(problem["loc"][-1]) and any(f"{name}.".startswith(f"{key}.") for name in known):
            *above, last = key.split(".")
            where = f"expected {last} in the section {'.'.join(above)}"
            right = proposals.lines(key, plain(problem["input"]))
            return f"{key}: {where}, found one key with dots, as --set takes them; in its place it is\n{right}"
        return f"{key}: unknown key{_did_you_mean(key, known)}"
    inner = [name.removeprefix(f"{key}.") for name in known if name.startswith(f"{key}.")]
    keys = ", ".join(name for name in inner if "." not in name)
    message = mistakes.describe(problem, expected=f"the keys {keys}" if keys else None)
    return f"{key}: {message}" if key else message


def _did_you_mean(key: str, known: list[str]) -> str:
    """The nearest known key, by its whole path or else by its last part (data.source: download.data.source)."""
    by_tail = [name for name in known if name.endswith(f".{key}")]
    near = by_tail or difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
