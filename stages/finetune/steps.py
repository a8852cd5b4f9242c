"""How many optimiser steps a recipe makes of how many rows: arithmetic alone, without torch."""

from __future__ import annotations

from stages.common.errors import ConfigError
from stages.common.plurals import counted
from stages.params.finetune import Finetune


def planned_steps(rows: int, settings: Finetune) -> int:
    """Optimiser steps that the recipe makes from so many train rows.

    Raises:
        ConfigError: the rows do not fill one batch.
    """
    an_epoch = batches_of_an_epoch(rows, settings)
    if an_epoch == 0:
        raise ConfigError(
            f"{counted(rows, 'train row does', 'train rows do')} not fill one batch of finetune.batch_size "
            f"{settings.batch_size}",
            "lower finetune.batch_size or set finetune.drop_last: false in params.yaml",
        )
    steps = an_epoch * settings.epochs
    return steps if settings.max_steps is None else min(steps, settings.max_steps)


def rows_left_out(rows: int, settings: Finetune) -> int:
    """Train rows that drop_last leaves out of each epoch, since they do not fill a batch; other ones each time."""
    return rows % settings.batch_size if settings.drop_last else 0


def batches_of_an_epoch(rows: int, settings: Finetune) -> int:
    """Batches that so many train rows make; the last one may be smaller without drop_last."""
    return rows // settings.batch_size if settings.drop_last else -(-rows // settings.batch_size)
