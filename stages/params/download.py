"""The section ``download``: the dataset, the GPT-2 and the tokenizer that a run starts from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from stages.common.secrecy import has_user
from stages.params.section import Count, Section, Seed, Sha256


def _without_password(value: str) -> str:
    """Refuse a URL with a user's password: values of params.yaml are recorded in dvc.lock and MLflow, and printed."""
    if has_user(value):
        raise ValueError(
            "expected a URL without a user's name and password, since params.yaml is recorded; put them into ~/.netrc: "
            "machine HOST login NAME password PASSWORD"
        )
    return value


#: A path or a URL.
Source = Annotated[str, Field(min_length=1), AfterValidator(_without_password)]


Key = Annotated[str, Field(min_length=1)]


class DataFields(Section):
    """The key of the dataset's rows that holds each of our fields; null: the one that is recognised."""

    instruction: Key | None = None
    input: Key | None = None
    output: Key | None = None
    category: Key | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        keys = [key for key in self.model_dump().values() if key is not None]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"expected another key for each field; found {twice[0]!r} for two")
        return self


class DataSource(Section):
    """The source of the instruction dataset, its checksum, and how its rows are read.

    Args:
        fields: the keys of the fields, where they are not recognised.
        on_invalid: whether rows that cannot be used end the stage (refuse), or are left out (drop).
        clean: whether words for "nothing" in an input become an empty input.
    """

    source: Source
    sha256: Sha256 | None
    fields: DataFields = DataFields()
    on_invalid: Literal["refuse", "drop"] = "refuse"
    clean: bool = False


class ModelSource(Section):
    """The GPT-2 that the run starts from. Unless it is made here (scratch), its config.json must have these sizes.

    Args:
        weights: scratch, hub or folder.
        repo: repository on the hub; with ``weights: folder`` the path of a folder.
        sha256: SHA-256 of model.safetensors; of shards, that of what sha256sum prints for them.
    """

    weights: Literal["scratch", "hub", "folder"]
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
        if self.weights == "folder" and not self.repo:
            raise ValueError("weights: folder needs repo: the path of the folder")
        return self


class TokenizerSource(Section):
    """The source of GPT-2's two BPE files, whose SHA-256 are fixed in stages/gpt2/tokenizer.py."""

    source: Source


class Download(Section):
    """The pipeline's inputs."""

    data: DataSource
    model: ModelSource
    tokenizer: TokenizerSource
