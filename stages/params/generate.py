"""The section ``generate``: whose answers, and how they are sampled."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from stages.common.records import ModelName, Precision
from stages.params.section import Count, Section, Seed
from stages.params.temperature import Temperature


class Generate(Section):
    """How test prompts are answered."""

    models: Annotated[list[ModelName], Field(min_length=1)]
    max_new_tokens: Count
    temperature: Annotated[Temperature, Field(ge=0, le=100)]
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
