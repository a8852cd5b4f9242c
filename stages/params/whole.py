"""params.yaml as one frozen tree: every value that changes a result, in one section for each stage.

No environment variable takes the place of a value: DVC decides by params.yaml what is fresh, and does not see
environment variables. They only say where and how a stage runs (addresses, caches, devices).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from stages.common import paths
from stages.common.errors import ConfigError
from stages.common.plurals import counted
from stages.params import reading
from stages.params.download import Download
from stages.params.finetune import Finetune
from stages.params.generate import Generate
from stages.params.judge import Judge
from stages.params.section import Section
from stages.params.split import Split
from stages.params.tokenize import Tokenize


class Params(Section):
    """The whole of params.yaml, with the rules that concern several sections."""

    profile: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    download: Download
    split: Split
    tokenize: Tokenize
    finetune: Finetune
    generate: Generate
    judge: Judge

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tokenize.context_length > self.download.model.n_positions:
            raise ValueError(
                f"tokenize.context_length ({self.tokenize.context_length}) is more than the model's "
                f"download.model.n_positions ({self.download.model.n_positions})"
            )
        if self.judge.mode == "pairwise" and "base" not in self.generate.models:
            raise ValueError(
                f"judge.mode: pairwise compares the tuned model's answers with the base model's, so that "
                f"generate.models must name both; found {self.generate.models}"
            )
        return self


def load(path: Path = paths.PARAMS) -> Params:
    """Read and check params.yaml.

    Raises:
        ConfigError: the file is missing or not YAML, or holds unknown keys or wrong values; every problem is listed.
    """
    return check(reading.read_values(path), reading.shown(path))


def advice(download: Mapping[str, Any], finetune: Mapping[str, Any]) -> list[str]:
    """What is allowed and seldom meant, in words.

    Args:
        download: the section download.
        finetune: the section finetune.
    """
    if (download.get("model") or {}).get("weights") == "scratch" and finetune.get("lora"):
        what = "LoRA over random weights: all but its small updates stays random, and nothing can be learnt from that"
        return [f"{what}; set finetune.lora: null, or download.model.weights: hub or folder"]
    return []


def known_keys() -> list[str]:
    """Every dotted key that params.yaml may hold: those of its sections and of its values."""
    return reading.known_keys(Params)


def check(tree: Any, path: Path | str = paths.PARAMS, *, given_by: Callable[[str, str], str] | None = None) -> Params:
    """Check a mapping against the schema.

    Args:
        tree: the mapping, as read from YAML.
        path: file that it was read from, for the message.
        given_by: function from a wrong key and its message to the file or option to correct; None means ``path``.

    Raises:
        ConfigError: keys are unknown or missing, or values are wrong; every problem is listed.
    """
    if not isinstance(tree, Mapping):
        sections = ", ".join(Params.model_fields)
        found = "nothing" if tree is None else "a list" if isinstance(tree, list) else f"{tree!r}"
        raise ConfigError(f"{path}: expected the sections {sections}; found {found}", f"git checkout -- {path}")
    try:
        return Params.model_validate(reading.plain(tree))
    except ValidationError as error:
        known = known_keys()
        problems = [
            (".".join(map(str, problem["loc"])), reading.describe(problem, known)) for problem in error.errors()
        ]
        count = counted(len(problems), "problem")
        listing = "\n".join(f"  - {text}" for _, text in problems)
        wrong = dict.fromkeys(given_by(*problem) if given_by else str(path) for problem in problems)
        raise ConfigError(f"{path}: {count}:\n{listing}", f"correct {', '.join(wrong)}") from None
