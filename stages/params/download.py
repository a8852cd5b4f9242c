"""The section ``download``: the dataset, the GPT-2 and the tokenizer that a run starts from."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from stages.common.secrecy import has_user
from stages.params.section import Count, Fraction, Section, Seed, Sha256


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
    """The key of the dataset's rows that holds each of our fields; null: the one that is recognised.

    Args:
        split: the key that names the split of a row, for split.method predefined; null: none.
    """

    instruction: Key | None = None
    input: Key | None = None
    output: Key | None = None
    category: Key | None = None
    split: Key | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        keys = [key for key in self.model_dump(exclude={"split"}).values() if key is not None]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"expected another key for each field; found {twice[0]!r} for two")
        return self


def _pattern(value: str) -> str:
    """Refuse what is no regular expression."""
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"expected a regular expression; found {value!r}: {error}") from None
    return value


class RowFilter(Section):
    """Which rows of a source are taken; null does not filter.

    Args:
        categories: the categories of these rows.
        without: categories of rows that are left out.
        matching: regular expression that is found in the instruction, the input or the output.
        longest: the most characters of these three together.
    """

    categories: Annotated[list[str], Field(min_length=1)] | None = None
    without: Annotated[list[str], Field(min_length=1)] | None = None
    matching: Annotated[str, AfterValidator(_pattern)] | None = None
    longest: Count | None = None


class MixedSource(Section):
    """A source of a mix.

    Args:
        source: a file, as download.data.source.
        sha256: its SHA-256.
        fields: the keys of the fields, where they are not recognised.
        name: its name in the rows and in the scores; null: its file's name without the ending.
        weight: its part of the mix, compared with the weights of others; null: all its rows.
        share: the share of its rows in the whole mix, for rows such as off-topic ones; null: no fixed share.
        cap: the most rows of it, drawn at random; null: any number.
        filter: which of its rows are taken.
    """

    source: Source
    sha256: Sha256 | None = None
    fields: DataFields = DataFields()
    name: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    share: Fraction | None = None
    cap: Count | None = None
    filter: RowFilter = RowFilter()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.weight is not None and self.share is not None:
            raise ValueError("expected weight or share; found both")
        return self

    @property
    def label(self) -> str:
        """The name of the source in the rows."""
        return self.name or PurePosixPath(self.source).name.partition(".")[0] or self.source


class DataSource(Section):
    """The source of the instruction dataset, or several of which it is a mix, and how its rows are read.

    Args:
        fields: the keys of the fields, where they are not recognised.
        on_invalid: whether rows that cannot be used end the stage (refuse), or are left out (drop).
        clean: whether words for "nothing" in an input become an empty input.
        placeholder_answers: whether an output may be a word for "nothing", such as N/A.
        mix_seed: seed of the rows that are drawn for a mix, and of their order.
        sources: the sources of a mix, each with source, sha256 and fields of its own. Empty: there is one source.
    """

    #: Whether it is one of several sources, so that its keys in params.yaml are those of a list's item.
    in_a_mix: ClassVar[bool] = False

    source: Source
    sha256: Sha256 | None
    fields: DataFields = DataFields()
    on_invalid: Literal["refuse", "drop"] = "refuse"
    clean: bool = False
    placeholder_answers: bool = False
    mix_seed: Seed = 123
    sources: list[MixedSource] = Field(default_factory=list)

    def alone(self, source: MixedSource) -> OneOfSeveral:
        """One source of the mix, as if there were no other."""
        of_its_own: dict[str, Any] = {
            "source": source.source,
            "sha256": source.sha256,
            "fields": source.fields,
            "sources": [],
        }
        return OneOfSeveral.model_construct(**{**dict(self), **of_its_own})

    @model_validator(mode="after")
    def _check(self) -> Self:
        labels = [source.label for source in self.sources]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"sources: expected another name for each; found {twice[0]!r} twice: set name")
        shares = [source.share for source in self.sources if source.share is not None]
        if shares and len(shares) == len(self.sources):
            raise ValueError("sources: expected one without a share, of which the shares are taken; found none")
        if sum(shares) >= 1:
            raise ValueError(f"sources: expected shares below 1 together; found {sum(shares):g}")
        return self


class OneOfSeveral(DataSource):
    """A source of a mix with how its rows are read."""

    in_a_mix: ClassVar[bool] = True


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
