"""The section ``split``: how rows are divided, and how many rows of each finding are allowed."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.params.section import Fraction, Section, Seed

#: The largest number of rows that a finding may have; None: any number.
Limit = Annotated[int, Field(ge=0)] | None


class Checks(Section):
    """The threshold of each check of the rows: with more rows than that the stage fails."""

    repeated_rows: Limit
    repeated_prompts: Limit
    conflicting_answers: Limit
    near_duplicates: Limit
    leaks: Limit
    near_leaks: Limit
    few_test_rows: Limit
    empty_answers: Limit
    placeholders: Limit
    unfinished_answers: Limit
    template_markers: Limit
    over_context: Limit
    dropped: Limit
    api_keys: Limit
    ibans: Limit
    emails: Limit
    phones: Limit
    offensive_words: Limit
    other_scripts: Limit
    other_languages: Limit
    unseen_categories: Limit
    template_siblings: Limit


class Split(Section):
    """How rows are divided; val gets the rows that train and test leave."""

    method: Literal["order", "shuffle", "grouped", "stratified", "hashed", "predefined"]
    seed: Seed
    train: Fraction
    test: Fraction
    checks: Checks

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.train + self.test >= 1:
            raise ValueError(f"train ({self.train}) and test ({self.test}) must leave a part for val")
        return self
