"""params.yaml as one frozen tree: every value that changes a result, one section a stage.

Environment variables never stand in for a value here: they say where and how (addresses, caches,
devices), and DVC, which decides by params.yaml what is fresh, does not see them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from stages.common import paths
from stages.common.errors import ConfigError
from stages.params import reading
from stages.params.download import Download
from stages.params.finetune import Finetune
from stages.params.generate import Generate
from stages.params.judge import Judge
from stages.params.section import Section
from stages.params.split import Split
from stages.params.tokenize import Tokenize


class Params(Section):
    """The whole of params.yaml."""

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
    return check(reading.read_yaml(path), path)


def known_keys() -> list[str]:
    """Every dotted key that params.yaml may hold, sections and values."""
    return reading.known_keys(Params)


def check(tree: Any, path: Path | str = paths.PARAMS, *, given_by: Callable[[str, str], str] | None = None) -> Params:
    """Turn a mapping into `Params`.

    Args:
        tree: the mapping.
        path: what it was read from.
        given_by: is given a wrong key and what is wrong with it, and says what is to be corrected; None: ``path``.

    Raises:
        ConfigError: lists every problem.
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
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        listing = "\n".join(f"  - {text}" for _, text in problems)
        wrong = dict.fromkeys(given_by(*problem) if given_by else str(path) for problem in problems)
        raise ConfigError(f"{path}: {count}:\n{listing}", f"correct {', '.join(wrong)}") from None
