"""What a language model is asked, and how its answer is read. The words are data: stages/judging/rubrics/NAME.json."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from stages.common.errors import ConfigError
from stages.common.files import sha256
from stages.judging.judge import Question

FOLDER = Path(__file__).parent / "rubrics"
LOWEST, HIGHEST = 0, 100

#: The JSON schema of a verdict, which the server holds the model to.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"score": {"type": "integer", "minimum": LOWEST, "maximum": HIGHEST}},
    "required": ["score"],
    "additionalProperties": False,
}

_FIELDS = frozenset({"instruction", "input", "reference", "answer"})


class InvalidVerdict(ValueError):
    """What a judge said is not a score."""


class _File(BaseModel):
    """A rubric's file: two templates as lists of lines."""

    model_config = ConfigDict(extra="forbid", strict=True)

    system: list[str]
    user: list[str]


@dataclass(frozen=True)
class Rubric:
    """Templates of the two messages to the judge, with $fence, $instruction, $input, $reference and $answer."""

    name: str
    sha256: str
    system: Template
    user: Template

    def messages(self, question: Question) -> list[dict[str, str]]:
        """The messages that ask for the verdict on one answer, as chat APIs take them."""
        fields = {name: getattr(question, name) for name in _FIELDS}
        values = fields | {"fence": fence(*(fields[name] for name in sorted(fields)))}
        return [
            {"role": "system", "content": self.system.substitute(values)},
            {"role": "user", "content": self.user.substitute(values)},
        ]


def load_rubric(name: str, folder: Path = FOLDER) -> Rubric:
    """Read a rubric.

    Raises:
        ConfigError: there is none of that name, or its file is not a rubric.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.json")))
        raise ConfigError(f"params.yaml: judge.rubric: no rubric {name!r}; there is {known}", "correct params.yaml")
    fix = f"correct {path.name} in stages/judging/rubrics"
    try:
        found = _File.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"{path.name}: {where}: {first['msg']}", fix) from None
    rubric = Rubric(name, sha256(path), Template("\n".join(found.system)), Template("\n".join(found.user)))
    for part, template, needed in (("system", rubric.system, set()), ("user", rubric.user, _FIELDS | {"fence"})):
        used = set(template.get_identifiers()) if template.is_valid() else {"a lone $"}
        if wrong := used - _FIELDS - {"fence"} or needed - used:
            raise ConfigError(f"{path.name}: {part}: unknown, or missing: {', '.join(sorted(wrong))}", fix)
    return rubric


def fence(*texts: str) -> str:
    """A mark that stands in none of the texts.

    It is made from their hash: the same each time, and not to be foreseen by whoever writes one of them.
    """
    seed = json.dumps(texts).encode()
    while True:
        mark = f"[{hashlib.sha256(seed).hexdigest()[:16]}]"
        if not any(mark in text for text in texts):
            return mark
        seed = mark.encode()


def parse_score(text: str) -> int:
    """The score in ``{"score": 85}``. Nothing is repaired, rounded or clamped; white space does not count.

    Raises:
        InvalidVerdict: the text is anything else.
    """
    try:
        value = json.loads(text, object_pairs_hook=_without_repeats)
    except InvalidVerdict:
        raise
    except (ValueError, RecursionError):
        raise InvalidVerdict("not JSON") from None
    if not isinstance(value, dict) or set(value) != {"score"}:
        raise InvalidVerdict("not a JSON object with score as its only key")
    score = value["score"]
    if type(score) is not int:  # bool is a kind of int
        raise InvalidVerdict("the score is not a whole number")
    if not LOWEST <= score <= HIGHEST:
        raise InvalidVerdict(f"the score is not from {LOWEST} to {HIGHEST}")
    return score


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise InvalidVerdict("a key occurs twice")
    return dict(pairs)
