"""What every section of params.yaml is made of: a frozen, strict mapping, and the kinds of value that recur."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """A mapping in params.yaml: immutable, with exactly the keys named, and no value converted from another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
