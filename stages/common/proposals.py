"""Values of params.yaml that a message proposes, in forms that can be pasted: into the file, or behind a command."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from itertools import starmap
from typing import Any

#: Words that YAML 1.1 or 1.2 reads as another value than a text.
_NO_TEXT = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
#: What a text may be made of that needs no quotation marks in YAML, in JSON's braces too: a word, or digits of a digest
#: among which is one that no number has; 0b10 is a number.
_PLAIN = re.compile(r"[A-Za-z_][\w./-]*|(?!0b)(?=.*[a-df])[0-9a-f]+", flags=re.ASCII)
#: What json leaves as it is and YAML does not take or changes: control characters, line separators, a byte order mark,
#: lone surrogates, which cannot be printed either, and what is no character (YAML 1.2.2, 5.1 and 5.4).
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")


def fix(values: Mapping[str, Any]) -> str:
    """What to do to set values: the lines of params.yaml, and the options of one run.

    Args:
        values: the values by dotted key, all in one section. A mapping stands for all keys below its own.

    >>> print(fix({"download.data.fields": {"instruction": "question"}}))
    put these lines into params.yaml, in place of download.data.fields:
        fields:
          instruction: question
      or add to python -m flows.run: --set 'download.data.fields={instruction: question}'
    """
    one_line = len(values) == 1 and not any(isinstance(value, Mapping) for value in values.values())
    these = "this line" if one_line else "these lines"
    options = " ".join(option(key, value) for key, value in values.items())
    text = "\n".join(lines(key, value) for key, value in values.items())
    return (
        f"put {these} into params.yaml, in place of {' and '.join(values)}:\n{text}\n"
        f"  or add to python -m flows.run: {options}"
    )


def inline(key: str, value: Any) -> str:
    """The same within a sentence, for a value that is one word: its line and section, and its option.

    >>> inline("download.data.on_invalid", "drop")
    'on_invalid: drop in the section download.data of params.yaml, or --set download.data.on_invalid=drop'
    """
    section, _, name = key.rpartition(".")
    return f"{name}: {scalar(value)} in the section {section} of params.yaml, or {option(key, value)}"


def everywhere(values: Mapping[str, Any]) -> str:
    """The same within a sentence, for several values and for every way to start a run.

    >>> everywhere({"finetune.epochs": 4})
    "set finetune.epochs: 4 in params.yaml or Prefect's form, or --set finetune.epochs=4"
    """
    listed = ", ".join(f"{key}: {scalar(value)}" for key, value in values.items())
    return f"set {listed} in params.yaml or Prefect's form, or {' '.join(starmap(option, values.items()))}"


def lines(key: str, value: Any) -> str:
    """A value as it stands in params.yaml, as deep as its section is."""
    *above, name = key.split(".")
    indent = "  " * len(above)
    if not isinstance(value, Mapping):
        return f"{indent}{name}: {scalar(value)}"
    return "\n".join([f"{indent}{name}:", *(lines(f"{key}.{inner}", one) for inner, one in value.items())])


def option(key: str, value: Any) -> str:
    """The option of `python -m flows.run` that sets a value, as a shell takes it."""
    return f"--set {shlex.quote(f'{key}={flow(value)}')}"


def flow(value: Any) -> str:
    """A value of params.yaml on one line: a mapping is in braces."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {flow(one)}' for name, one in value.items())}}}"
    return scalar(value)


def scalar(value: Any) -> str:
    """A text, number or truth value as YAML; a text is in quotation marks unless it is plainly one."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NO_TEXT:
        return value
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
