"""The picture of the losses."""

from __future__ import annotations

import io

from stages.common.results.finetune import StepRecord
from stages.running import curves


def test_the_running_mean_worked_by_hand():
    assert curves.running_mean([2, 4, 6], 2) == [2, 3, 5]
    assert curves.running_mean([], 2) == []


def test_the_picture_shows_every_loss_at_its_step():
    history = [
        StepRecord(step=0, epoch=0, tokens_seen=0, val_loss=11.0),
        StepRecord(step=1, epoch=1, tokens_seen=9, train_loss=8.0),
        StepRecord(step=2, epoch=1, tokens_seen=20, train_loss=6.0, val_loss=5.0),
    ]

    drawn = curves.figure(history)

    [axes] = drawn.axes
    assert [line.get_xydata().tolist() for line in axes.lines] == [
        [[1, 8.0], [2, 6.0]],
        [[1, 8.0], [2, 7.0]],
        [[0, 11.0], [2, 5.0]],
    ]
    drawn.savefig(picture := io.BytesIO(), format="png")
    assert picture.getvalue().startswith(b"\x89PNG")
