"""The section ``finetune``: the training recipe."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.common.records import Precision
from stages.params.section import Count, Section, Seed


class Lora(Section):
    """LoRA: low-rank updates that are trained instead of the weights (Hu et al. 2021)."""

    rank: Count
    alpha: Annotated[float, Field(gt=0)]
    targets: Annotated[list[Literal["c_attn", "c_proj", "c_fc"]], Field(min_length=1)]


class Finetune(Section):
    """The training recipe."""

    seed: Seed
    epochs: Count
    max_steps: Count | None
    batch_size: Count
    accumulate: Count
    drop_last: bool
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    decay: Literal["all", "matrices"]
    schedule: Literal["constant", "linear", "cosine"]
    warmup_steps: Annotated[int, Field(ge=0)]
    clip_norm: Annotated[float, Field(gt=0)] | None
    dropout: Annotated[float, Field(ge=0, lt=1)]
    precision: Precision
    activation_checkpointing: bool
    lora: Lora | None
    devices: Annotated[int, Field(ge=1, le=1024)]
    parallel: Literal["ddp", "fsdp"]
    eval_every: Count
    patience: Count | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate ({self.accumulate}) cannot be more than batch_size ({self.batch_size})")
        if self.devices > self.batch_size:
            raise ValueError(f"devices ({self.devices}) cannot be more than batch_size ({self.batch_size})")
        return self
