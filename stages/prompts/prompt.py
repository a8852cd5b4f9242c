"""The prompt styles: templates that turn an instruction and its input into a prompt.

A style is data. It is stored with the tokens and with the model, so that a later conversation with the model uses the
template of its training. The response follows the prompt directly. Prompt and response are encoded separately and then
joined, so that generation sees exactly the ids of training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from stages.common import mistakes
from stages.common.errors import DataError
from stages.common.files import read_json, write_json

#: Name of the file with a model's style, beside its weights.
STYLE_FILE = "prompt_style.json"


class PromptStyle(BaseModel):
    """Two templates, in which ``{instruction}`` and ``{input}`` stand for the texts of a row.

    Args:
        name: name of the style in params.yaml.
        with_input: template for a row with an input; ``{instruction}`` occurs once, and after it ``{input}`` once.
        without_input: template for a row without one; ``{instruction}`` occurs once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    with_input: str
    without_input: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        before, *behind = self.with_input.split("{instruction}")
        if len(behind) != 1 or "{input}" in before or behind[0].count("{input}") != 1:
            raise ValueError("with_input: expected {instruction} once, and behind it {input} once")
        if self.without_input.count("{instruction}") != 1 or "{input}" in self.without_input:
            raise ValueError("without_input: expected {instruction} once, and no {input}")
        return self

    def prompt(self, instruction: str, input: str) -> str:
        """The prompt of a row. The row's texts are inserted unchanged, even if they contain braces."""
        template = self.with_input if input else self.without_input
        before, after = template.split("{instruction}")
        return before + instruction + after.replace("{input}", input)


def save_style(style: PromptStyle, folder: Path) -> None:
    """Store a style beside a model."""
    write_json(folder / STYLE_FILE, style.model_dump())


def load_style(folder: Path, *, made_by: str) -> PromptStyle:
    """Read the style stored beside a model.

    Raises:
        DataError: the file is missing, or does not hold a style.
    """
    path = folder / STYLE_FILE
    try:
        return PromptStyle.model_validate(read_json(path, made_by=made_by))
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{key}: " for key in first["loc"])
        raise DataError(f"{path}: not a prompt style: {where}{mistakes.describe(first)}", made_by) from None
