"""params.yaml as one frozen tree: every value that changes a result, one section a stage.

Environment variables never stand in for a value here: they say where and how (addresses, caches,
devices), and DVC, which decides by params.yaml what is fresh, does not see them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from stages.common import paths
from stages.common.errors import ConfigError, DataError
from stages.common.files import read_text
from stages.common.records import ModelName

PromptStyleName = Literal["alpaca", "phi3"]
LossOn = Literal["all", "response"]
Precision = Literal["auto", "fp32", "bf16"]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """A mapping in params.yaml: immutable, with exactly the keys named, and no value converted from another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DataSource(Section):
    """Where the instruction dataset comes from."""

    source: Annotated[str, Field(min_length=1)]
    sha256: Sha256 | None


class ModelSource(Section):
    """Which GPT-2 the run starts from. For ``weights: hub`` the sizes are what config.json must say."""

    weights: Literal["scratch", "hub"]
    n_layer: Count
    n_head: Count
    n_embd: Count
    n_positions: Count
    seed: Seed
    repo: str | None
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None
    sha256: Sha256 | None
    config_sha256: Sha256 | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd ({self.n_embd}) must be a multiple of n_head ({self.n_head})")
        pinned = ("repo", "revision", "sha256", "config_sha256")
        missing = [name for name in pinned if getattr(self, name) is None]
        if self.weights == "hub" and missing:
            raise ValueError(f"weights: hub needs {', '.join(missing)}: the repository, its commit and both SHA-256")
        return self


class TokenizerSource(Section):
    """Where GPT-2's two BPE files come from; their SHA-256 are fixed in stages/gpt2/tokenizer.py."""

    source: Annotated[str, Field(min_length=1)]


class Download(Section):
    """The pipeline's inputs."""

    data: DataSource
    model: ModelSource
    tokenizer: TokenizerSource


class Split(Section):
    """How rows are divided; val gets what train and test leave."""

    method: Literal["order", "shuffle"]
    seed: Seed
    train: Fraction
    test: Fraction

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.train + self.test >= 1:
            raise ValueError(f"train ({self.train}) and test ({self.test}) must leave a part for val")
        return self


class Tokenize(Section):
    """How a row becomes token ids."""

    prompt_style: PromptStyleName
    context_length: Annotated[int, Field(ge=8)]
    loss_on: LossOn


class Lora(Section):
    """Low-rank updates that are trained instead of the weights themselves."""

    rank: Count
    alpha: Annotated[float, Field(gt=0)]
    targets: Annotated[list[Literal["c_attn", "c_proj", "c_fc"]], Field(min_length=1)]


class Finetune(Section):
    """The training recipe."""

    seed: Seed
    epochs: Count
    max_steps: Count | None
    batch_size: Count
    accumulate: Count
    drop_last: bool
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    decay: Literal["all", "matrices"]
    schedule: Literal["constant", "linear", "cosine"]
    warmup_steps: Annotated[int, Field(ge=0)]
    clip_norm: Annotated[float, Field(gt=0)] | None
    dropout: Annotated[float, Field(ge=0, lt=1)]
    precision: Precision
    activation_checkpointing: bool
    lora: Lora | None
    devices: Annotated[int, Field(ge=1, le=1024)]
    parallel: Literal["ddp", "fsdp"]
    eval_every: Count
    patience: Count | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate ({self.accumulate}) cannot be more than batch_size ({self.batch_size})")
        if self.devices > self.batch_size:
            raise ValueError(f"devices ({self.devices}) cannot be more than batch_size ({self.batch_size})")
        return self


class Generate(Section):
    """How test prompts are answered."""

    models: Annotated[list[ModelName], Field(min_length=1)]
    max_new_tokens: Count
    temperature: Annotated[float, Field(ge=0, le=100)]
    top_k: Count | None
    top_p: Annotated[float, Field(gt=0, le=1)] | None
    seed: Seed
    batch_size: Count
    precision: Precision

    @model_validator(mode="after")
    def _check(self) -> Self:
        if "tuned" not in self.models or len(set(self.models)) != len(self.models):
            raise ValueError(f"models must name tuned, and each model once; found {self.models}")
        if self.temperature == 0 and (self.top_k is not None or self.top_p is not None):
            raise ValueError("top_k and top_p change nothing at temperature 0; set temperature above 0, or both null")
        return self


class Calibration(Section):
    """A file of better scores of test answers: rows of id, answer, score and, if it is not the tuned one, model."""

    source: Annotated[str, Field(min_length=1)]
    sha256: Sha256


class Judge(Section):
    """Who scores the answers, and how the scores are summed up."""

    mode: Literal["score", "pairwise"]
    backend: Literal["reference", "ollama", "openai"]
    model: Annotated[str, Field(min_length=1)]
    rubric: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    temperature: Annotated[float, Field(ge=0, le=2)]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    num_ctx: Annotated[int, Field(ge=256)]
    num_predict: Count
    repeats: Annotated[int, Field(ge=1, le=20)]
    expected_value: bool
    exact_match: Literal["ask", "skip"]
    deadline_seconds: Annotated[float, Field(gt=0)]
    retries: Annotated[int, Field(ge=0, le=20)]
    parallel: Annotated[int, Field(ge=1, le=64)]
    min_separation: Annotated[float, Field(ge=0, le=100)]
    max_invalid: Annotated[float, Field(ge=0, le=1)]
    bootstrap_resamples: Annotated[int, Field(ge=100, le=1_000_000)]
    calibration: Calibration | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.repeats > 1 and self.backend != "reference" and self.temperature == 0:
            raise ValueError(
                "repeats: at temperature 0 a judge says the same again; set temperature above 0, or repeats 1"
            )
        return self


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
    return check(read_yaml(path), path)


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 file, in which 5e-5 is a number (YAML 1.1 takes it for text), with its comments kept.

    Raises:
        ConfigError: the file is missing or not YAML.
    """
    try:
        return YAML().load(read_text(path, made_by=f"git checkout -- {path}"))
    except DataError as error:
        raise ConfigError(error.what, error.fix) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}: not valid YAML{where}: {error.problem}", f"correct {path}") from None
    except YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}", f"correct {path}") from None


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
        return Params.model_validate(_plain(tree))
    except ValidationError as error:
        problems = [(".".join(map(str, problem["loc"])), _describe(problem)) for problem in error.errors()]
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        listing = "\n".join(f"  - {text}" for _, text in problems)
        wrong = dict.fromkeys(given_by(*problem) if given_by else str(path) for problem in problems)
        raise ConfigError(f"{path}: {count}:\n{listing}", f"correct {', '.join(wrong)}") from None


def merge(base: dict[str, Any], overlay: Mapping[str, Any]) -> None:
    """Put an overlay's values over those of ``base`` in place: mappings are merged, anything else is replaced."""
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted keys: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def known_keys(section: type[BaseModel] = Params, prefix: str = "") -> list[str]:
    """Every dotted key that params.yaml may hold, sections and values."""
    keys: list[str] = []
    for name, field in section.model_fields.items():
        keys.append(prefix + name)
        if (nested := _section_of(field)) is not None:
            keys += known_keys(nested, f"{prefix}{name}.")
    return keys


def _section_of(field: FieldInfo) -> type[Section] | None:
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


def _plain(value: Any) -> Any:
    """Ruamel's round-trip containers and scalars as the built-in types that strict validation asks for."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _describe(problem: Any) -> str:
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key{_did_you_mean(key)}"
    if problem["type"] == "missing":
        return f"{key}: missing"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key}: {message[0].lower()}{message[1:]}; found {problem['input']!r}"


def _did_you_mean(key: str) -> str:
    """The nearest known key, by its whole path or else by its last part (data.source: download.data.source)."""
    known = known_keys()
    by_tail = [name for name in known if name.endswith(f".{key}")]
    near = by_tail or difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
