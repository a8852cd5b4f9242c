"""What a language model is asked, and how its answer is read. The words are data: rubrics/NAME.json."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stages.common import mistakes
from stages.common.errors import ConfigError, DataError
from stages.common.files import read_json, sha256
from stages.judge.judges.protocol import Question
from stages.prompts.styles import STYLES

FOLDER = Path(__file__).parent / "rubrics"

#: What a judge replies: a JSON object with a score, the same with a reason after it, or a bare whole number; where it
#: compares two answers, a JSON object that says which is better.
ReplyFormat = Literal["score", "score and reason", "integer", "better"]
#: The rubric by which answers are compared, and what each of its verdicts is on the scale of the answer shown first.
COMPARING = "pairwise-v1"
BETTER = {"first": 2, "tie": 1, "second": 0}
#: Scales of fewer steps are given to the server as a list of values, which servers enforce better than bounds.
LONGEST_ENUM = 11

_TEXTS = frozenset({"instruction", "input", "reference", "answer"})
_FIELDS = _TEXTS | {"fence", "task", "other"}
#: Sets of fields with which a rubric shows everything: fenced, or with the task as the book writes it.
_COMPLETE = (_TEXTS | {"fence"}, frozenset({"task", "reference", "answer"}))
#: The same where two answers are compared.
_COMPLETE_PAIR = (_TEXTS | {"fence", "other"},)


class InvalidVerdict(ValueError):
    """What a judge said is not a score."""


class _File(BaseModel):
    """A rubric's file: two messages as lists of lines, the user's a template, the reply's form, its score's scale."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reply: ReplyFormat = "score"
    scale: Annotated[list[int], Field(min_length=2, max_length=2)] = [0, 100]
    system: list[str] = []
    user: list[str]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.reply == "better":
            self.scale = [min(BETTER.values()), max(BETTER.values())]
        if not 0 <= self.scale[0] < self.scale[1]:
            raise ValueError(f"scale: expected the lowest and the highest score, found {self.scale}")
        return self


@dataclass(frozen=True)
class Rubric:
    """Templates of the messages to the judge, and what it is to reply.

    The system message is the same for every question: servers then read it once and keep what they have computed.
    The fields of the user's are $instruction, $input, $reference, $answer; $fence, a mark that occurs in none of them;
    and $task, instruction and input as chapter 7 of the book puts them to the model. Where two answers are compared
    $answer is the first and $other the second. Scores run from ``lowest`` to ``highest``.
    """

    name: str
    sha256: str
    system: str
    user: Template
    reply: ReplyFormat = "score"
    lowest: int = 0
    highest: int = 100

    def messages(self, question: Question) -> list[dict[str, str]]:
        """The messages that ask for the verdict on one answer, or on two, as chat APIs take them."""
        texts = _TEXTS | {"other"} if self.reply == "better" else _TEXTS
        fields = {name: getattr(question, name) for name in texts}
        values = fields | {
            "fence": fence(*(fields[name] for name in sorted(fields))),
            "task": _task(question.instruction, question.input),
        }
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": self.user.substitute(values)}]

    def schema(self) -> dict[str, Any] | None:
        """The JSON schema that the server holds the model to; None for a bare number, as the book asks for it."""
        if self.reply == "integer":
            return None
        if self.reply == "better":
            return _closed_object({"better": {"type": "string", "enum": list(BETTER)}})
        score: dict[str, Any] = {"type": "integer"}
        if self.highest - self.lowest < LONGEST_ENUM:
            score["enum"] = list(range(self.lowest, self.highest + 1))
        else:
            score |= {"minimum": self.lowest, "maximum": self.highest}
        properties = {"score": score}
        if self.reply == "score and reason":
            properties["reason"] = {"type": "string"}
        return _closed_object(properties)

    def parse(self, text: str) -> int:
        """The score in a reply, on the rubric's own scale. Nothing is repaired, rounded or clamped.

        Raises:
            InvalidVerdict: the text is not exactly the reply that the rubric asks for.
        """
        if self.reply == "integer":
            score = _parse_integer(text)
        elif self.reply == "better":
            score = _parse_better(text)
        else:
            score = _parse_object(text, with_reason=self.reply == "score and reason")
        if not self.lowest <= score <= self.highest:
            raise InvalidVerdict(f"the score is not from {self.lowest} to {self.highest}")
        return score

    def percent(self, score: float) -> float:
        """A score on the rubric's scale as one from 0 to 100."""
        return 100 * (score - self.lowest) / (self.highest - self.lowest)


def require_known(name: str, folder: Path = FOLDER, *, comparing: bool = False) -> None:
    """Refuse the name of a rubric that is not there; arguments as of `load_rubric`.

    Raises:
        ConfigError: there is none of that name.
    """
    if not (folder / f"{name}.json").is_file():
        known = sorted(file.stem for file in folder.glob("*.json") if (file.stem == COMPARING) == comparing)
        raise ConfigError(
            f"judge.rubric: expected one of {', '.join(known)}, the files in stages/judge/judges/rubrics; "
            f"found {name!r}",
            "set judge.rubric to one of them, in params.yaml or Prefect's form, or by --set judge.rubric=NAME",
        )


def load_rubric(name: str, folder: Path = FOLDER, *, comparing: bool = False) -> Rubric:
    """Read a rubric.

    Args:
        name: name of its file without the ending.
        folder: folder of the rubrics.
        comparing: whether it is to compare two answers, and not to score one.

    Raises:
        ConfigError: there is none of that name, its file is not a rubric, or not one for this.
    """
    require_known(name, folder, comparing=comparing)
    path = folder / f"{name}.json"
    fix = f"correct {path.name} in stages/judge/judges/rubrics, or judge.rubric in params.yaml"
    try:
        found = _File.model_validate(read_json(path, made_by=fix))
    except DataError as error:
        raise ConfigError(f"{path.name}: {error.what.removeprefix(f'{path}: ')}", fix) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"{path.name}: {where}: {mistakes.describe(first)}", fix) from None
    if (found.reply == "better") != comparing:
        wanted = '"better"' if comparing else '"score", "score and reason" or "integer"'
        raise ConfigError(f'{path.name}: reply: expected {wanted}, found "{found.reply}"', fix)
    system, user = "\n".join(found.system), Template("\n".join(found.user))
    if fields := Template(system).get_identifiers():
        raise ConfigError(f"{path.name}: system: the same for every question, so without {', '.join(fields)}", fix)
    used = set(user.get_identifiers()) if user.is_valid() else {"a lone $"}
    needed = min((complete - used for complete in (_COMPLETE_PAIR if comparing else _COMPLETE)), key=len)
    if wrong := used - _FIELDS or needed:
        raise ConfigError(f"{path.name}: user: unknown, or missing: {', '.join(sorted(wrong))}", fix)
    return Rubric(name, sha256(path), system, user, found.reply, *found.scale)


def fence(*texts: str) -> str:
    """A mark that occurs in none of the texts.

    It is made from their hash: it is the same each time, and who writes one of them cannot guess it.
    """
    seed = json.dumps(texts).encode()
    while True:
        mark = f"[{hashlib.sha256(seed).hexdigest()[:16]}]"
        if not any(mark in text for text in texts):
            return mark
        seed = mark.encode()


def _task(instruction: str, input: str) -> str:
    """The alpaca prompt without its last heading, which the book gives to its judge (``format_input``, chapter 7.2)."""
    return STYLES["alpaca"].prompt(instruction, input).removesuffix("\n\n### Response:\n")


def _parse_integer(text: str) -> int:
    """A whole number and nothing else: no sign, no underscore, no other script's digits, which int() takes."""
    digits = text.strip(" \t\r\n")
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidVerdict("not a whole number alone")
    if len(digits) > 9 or (len(digits) > 1 and digits.startswith("0")):
        raise InvalidVerdict("not a whole number of a sensible length")
    return int(digits)


def _parse_better(text: str) -> int:
    value = _parse_json(text)
    if not isinstance(value, dict) or set(value) != {"better"}:
        raise InvalidVerdict("not a JSON object with better as its only key")
    if not isinstance(value["better"], str) or value["better"] not in BETTER:
        raise InvalidVerdict(f"better is none of {', '.join(BETTER)}")
    return BETTER[value["better"]]


def _parse_object(text: str, *, with_reason: bool) -> int:
    value = _parse_json(text)
    if with_reason:
        if not isinstance(value, dict) or list(value) != ["score", "reason"] or not isinstance(value["reason"], str):
            raise InvalidVerdict("not a JSON object with score and then reason")
    elif not isinstance(value, dict) or set(value) != {"score"}:
        raise InvalidVerdict("not a JSON object with score as its only key")
    score = value["score"]
    if type(score) is not int:  # bool is a kind of int
        raise InvalidVerdict("the score is not a whole number")
    return score


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except InvalidVerdict:
        raise
    except (ValueError, RecursionError):
        raise InvalidVerdict("not JSON") from None


def _closed_object(properties: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of an object with these keys and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise InvalidVerdict("a key occurs twice")
    return dict(pairs)
