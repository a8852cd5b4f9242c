"""The section ``split``: how rows are divided."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from stages.params.section import Fraction, Section, Seed


class Split(Section):
    """How rows are divided; val gets the rows that train and test leave."""

    method: Literal["order", "shuffle"]
    seed: Seed
    train: Fraction
    test: Fraction

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.train + self.test >= 1:
            raise ValueError(f"train ({self.train}) and test ({self.test}) must leave a part for val")
        return self
