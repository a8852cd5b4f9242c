"""One fine-tuning as a value: what is trained how, and on what."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from stages.common.records import LossOn
from stages.common.results.tokenize import Encoded
from stages.finetune import steps
from stages.finetune.team import ALONE, Team
from stages.gpt2.runtime import Compute
from stages.params.finetune import Finetune


@dataclass(frozen=True)
class Run:
    """What a fine-tuning is about.

    Args:
        recipe: the section finetune of params.yaml.
        train: the rows to learn from.
        val: the rows to evaluate on, all of them each time.
        loss_on: which tokens count in the loss.
        compute: the device, and the dtype of the matrix products; the weights that are updated are fp32 in any case.
        team: the processes that train the model together; each has the same run but for its rank.
    """

    recipe: Finetune
    train: Sequence[Encoded]
    val: Sequence[Encoded]
    loss_on: LossOn
    compute: Compute
    team: Team = ALONE

    @functools.cached_property
    def steps(self) -> int:
        """Optimiser steps that the recipe makes of the rows; with early stopping they may be fewer.

        Raises:
            ConfigError: the rows do not fill one batch.
        """
        return steps.planned_steps(len(self.train), self.recipe)
