"""What pydantic finds wrong with a value, in words of this project: what was expected, and what was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: What was expected, by the type of pydantic's error. Names in braces are of its context.
_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "keys with values",
    "enum": "{expected}",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "int_type": "a whole number",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_attributes_type": "keys with values",
    "model_type": "keys with values",
    "none_required": "null",
    "string_pattern_mismatch": "a text of the form {pattern}",
    "string_type": "a text",
    "string_unicode": "a text of whole characters, without half a surrogate pair",
    "tuple_type": "a list",
}
#: What is said of an error whose type is in neither table: never pydantic's own words.
_OTHER = "another kind of value"
#: The forms of texts that need no regular expression to say.
_FORMS = {
    r"^[0-9a-f]{64}$": "a SHA-256: 64 digits from 0-9 and a-f",
    r"^[0-9a-f]{40}$": "a commit: 40 digits from 0-9 and a-f",
    r"^[a-z0-9][a-z0-9-]*$": "a name of small letters, digits and hyphens",
}
#: The longest value that is shown whole, in characters.
_SHOWN = 60


def describe(problem: Mapping[str, Any], *, expected: str | None = None) -> str:
    """One of pydantic's errors, such as ``expected a whole number; found 'many'``.

    Args:
        problem: the error, an element of ``ValidationError.errors()``.
        expected: what was expected, where the caller knows it better.
    """
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "missing":
        return "missing"
    if kind == "extra_forbidden":
        return "unknown key"
    if kind == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")  # a sentence of ours
    return f"expected {expected or _expected(kind, context)}; found {show(problem['input'])}"


def _expected(kind: str, context: Mapping[str, Any]) -> str:
    if kind in ("string_too_short", "too_short"):
        what = "a text that is not empty" if kind == "string_too_short" else "a list that is not empty"
        return what if context["min_length"] == 1 else f"a length of {context['min_length']} or more"
    if kind in ("string_too_long", "too_long"):
        return f"a length of {context['max_length']} or less"
    if (form := _FORMS.get(context.get("pattern", ""))) is not None:
        return form
    if kind in _EXPECTED:
        shown = {name: f"{value:g}" if isinstance(value, float) else value for name, value in context.items()}
        return _EXPECTED[kind].format(**shown)
    return _OTHER


def show(value: Any) -> str:
    """A value as YAML and JSON have it, on one line without control characters, shortened where it is long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    plain = isinstance(value, str | int | float | list | dict)
    shown = repr(value if plain else str(value))
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
