"""The section ``tokenize``: how a row becomes token ids."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stages.common.records import LossOn
from stages.params.section import Section

PromptStyleName = Literal["alpaca", "phi3"]


class Tokenize(Section):
    """How a row becomes token ids."""

    prompt_style: PromptStyleName
    context_length: Annotated[int, Field(ge=8)]
    loss_on: LossOn
