"""The base of every section of params.yaml, and the types of value that several sections use."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

#: The least temperature above 0. Logits of GPT-2 lie around -100, where neighbours in fp32 are 8e-6 apart. Divided by
#: this, two that differ are 7.6 apart or more; ten times lower the likelier of them is taken in all but 1e-33 of the
#: draws. So below it nothing is sampled: it is greedy decoding, which 0 says.
LEAST_TEMPERATURE = 1e-6


def _check_temperature(value: float) -> float:
    if 0 < value < LEAST_TEMPERATURE:
        raise ValueError(
            f"expected 0, which is greedy decoding, or {LEAST_TEMPERATURE:g} or more; found {value:g}",
        )
    return value


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
#: A sampling temperature: 0, or a number from `LEAST_TEMPERATURE` on. Each section sets its own upper bound.
Temperature = Annotated[float, AfterValidator(_check_temperature)]


class Section(BaseModel):
    """A mapping in params.yaml: immutable, with exactly these keys, and no value converted from another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
