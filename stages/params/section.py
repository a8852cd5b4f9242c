"""The base of every section of params.yaml, and the types of value that several sections use."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """A mapping in params.yaml: immutable, with exactly these keys, and no value converted from another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
