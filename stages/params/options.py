"""Values of params.yaml as a command line gives them: ``--set KEY=VALUE``, with a dotted key and YAML after it."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.common.errors import ConfigError
from stages.params import reading, whole


def parse(text: str, example: str = "finetune.epochs=3") -> tuple[str, Any]:
    """Split ``key=value`` and read the value as YAML: 3 and 5e-5 are numbers, null is None, [tuned] is a list.

    Where params.yaml wants a text and no number, the value is a text as it is given: a SHA-256 or the name of a model
    may be made of digits.

    Args:
        text: what stands after ``--set``.
        example: one that the program takes, for the message.

    Raises:
        ConfigError: the "=" or the key is missing, or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {text}: expected KEY=VALUE", f"--set {example}")
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


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted key as nested mappings: ``{"a.b": 1}`` becomes ``{"a": {"b": 1}}``."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        reading.merge(tree, value)
    return tree
