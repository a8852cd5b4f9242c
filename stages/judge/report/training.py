"""The training: its loss curves with the kept step, and its evaluations as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stages.common.html_page import Html, element, table
from stages.common.metrics.finetune import FinetuneMetrics
from stages.common.results.finetune import HISTORY, StepRecord
from stages.judge.report import drawings
from stages.judge.report.facts import Facts
from stages.judge.report.parts import LINES, folded, note, number, of_two, paragraph, section
from stages.running.curves import SMOOTHING


def losses(facts: Facts) -> Html:
    """The section of the training."""
    return section("training", "Training", *of_two(facts.training, facts.history, _losses))


def _losses(found: FinetuneMetrics, history: Sequence[StepRecord]) -> Iterator[Html]:
    if not any(one.train_loss is not None or one.val_loss is not None for one in history):
        yield paragraph(f"{HISTORY} has no loss.")
        return
    words = drawings.in_words(history, found.kept_step)
    yield element(
        "figure",
        _legend(),
        drawings.losses(history, found.kept_step, words),
        element("figcaption", f"Loss in nats a token. {words}"),
    )
    if found.best_step > found.kept_step or found.val_loss > found.best_val_loss:
        yield note(
            f"The lowest validation loss is that of step {found.best_step:,}, {number(found.best_val_loss, 3)}; "
            "finetune.patience keeps the weights of that step."
        )
    yield folded("Evaluations", *_evaluations(history, found.kept_step))


def _legend() -> Html:
    entries = [
        ("train", f"training, mean of {SMOOTHING} steps"),
        ("faint", "training, each step"),
        ("val", "validation, all rows"),
    ]
    keys = (element("span", element("i", class_=kind), name, class_="key") for kind, name in entries)
    return element("p", *keys, class_="legend")


def _evaluations(history: Sequence[StepRecord], kept: int) -> Iterator[Html]:
    found = [one for one in history if one.val_loss is not None]
    # Of many evaluations some are left out, as evenly as that can be.
    every = -(-len(found) // LINES)
    chosen = [one for place, one in enumerate(found) if place % every == 0 or one.step == kept or one is found[-1]]
    rows = [
        (one.step, number(one.train_loss, 3), number(one.val_loss, 3), "kept" if one.step == kept else "")
        for one in chosen
    ]
    yield table(
        ["step", "training loss of its batch", "validation loss", "weights"], rows, most=len(rows), figures=(1, 2)
    )
    if len(chosen) < len(found):
        yield note(f"{len(chosen):,} of {len(found):,} evaluations; {HISTORY} has all.")
