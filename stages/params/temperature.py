"""Sampling temperatures, of the models that answer and of the judge."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

#: The least temperature above 0. Logits of GPT-2 lie around -100, where neighbours in fp32 are 8e-6 apart. Divided by
#: this, two that differ are 7.6 apart or more; ten times lower the likelier of them is taken in all but 1e-33 of the
#: draws. So below it nothing is sampled: it is greedy decoding, which 0 says.
LEAST = 1e-6


def _check(value: float) -> float:
    if 0 < value < LEAST:
        raise ValueError(f"expected 0, which is greedy decoding, or {LEAST:g} or more; found {value:g}")
    return value


#: 0, or a number from `LEAST` on. Each section sets its own upper bound.
Temperature = Annotated[float, AfterValidator(_check)]
