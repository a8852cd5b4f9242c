"""The section ``judge``: who scores the answers, and how the scores are summarised."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.params.section import Count, Section, Sha256, Temperature


class Calibration(Section):
    """A file of human labels of test answers: rows of id, answer, score and, unless it is the tuned one, model."""

    source: Annotated[str, Field(min_length=1)]
    sha256: Sha256


class FurtherJudge(Section):
    """A judge beside the first one: its endpoint and its model. All else is as for the first."""

    backend: Literal["ollama", "openai"]
    model: Annotated[str, Field(min_length=1)]


class Judge(Section):
    """Who scores the answers, and how the scores are summarised."""

    mode: Literal["score", "pairwise"]
    backend: Literal["reference", "ollama", "openai"]
    model: Annotated[str, Field(min_length=1)]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{12,64}$")] | None
    rubric: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    temperature: Annotated[Temperature, Field(ge=0, le=2)]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    num_ctx: Annotated[int, Field(ge=256)]
    num_predict: Count
    think: bool | Literal["low", "medium", "high"] | None
    repeats: Annotated[int, Field(ge=1, le=20)]
    expected_value: bool
    exact_match: Literal["ask", "skip"]
    deadline_seconds: Annotated[float, Field(gt=0)]
    retries: Annotated[int, Field(ge=0, le=20)]
    parallel: Annotated[int, Field(ge=1, le=64)]
    min_separation: Annotated[float, Field(ge=0, le=100)]
    on_refusal: Literal["stop", "warn"]
    max_invalid: Annotated[float, Field(ge=0, le=1)]
    bootstrap_resamples: Annotated[int, Field(ge=100, le=1_000_000)]
    calibration: Calibration | None
    panel: Annotated[list[FurtherJudge], Field(max_length=9)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.repeats > 1 and self.temperature == 0:
            raise ValueError(
                "repeats: at temperature 0 a judge says the same again; set temperature above 0, or repeats 1"
            )
        if self.digest is not None and self.backend == "openai":
            raise ValueError("digest: servers of OpenAI's protocol say none; set judge.digest to null")
        first = [] if self.backend == "reference" else [(str(self.backend), self.model)]
        names = first + [(str(one.backend), one.model) for one in self.panel]
        if twice := [f"{model} of {backend}" for backend, model in names if names.count((backend, model)) > 1]:
            raise ValueError(f"panel: each judge once, and not the first one again; found {twice[0]} twice")
        return self

    def further(self) -> list[Judge]:
        """The settings of each further judge of the panel: those of the first, but for backend, model and its pin."""
        own: dict[str, object] = {"digest": None, "calibration": None, "panel": []}
        return [self.model_copy(update=own | {"backend": one.backend, "model": one.model}) for one in self.panel]
