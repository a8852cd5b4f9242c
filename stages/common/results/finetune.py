"""What the stage finetune writes."""

from __future__ import annotations

from stages.common.paths import ARTIFACTS, CACHE

FINETUNE_FOLDER = ARTIFACTS / "finetune"
TUNED_MODEL = FINETUNE_FOLDER / "model"
HISTORY = FINETUNE_FOLDER / "history.jsonl"
SAMPLES = FINETUNE_FOLDER / "samples.jsonl"
FINETUNE_METRICS = FINETUNE_FOLDER / "metrics.json"
LOSS_CSV = FINETUNE_FOLDER / "loss.csv"
LOSS_PLOT = FINETUNE_FOLDER / "loss.png"
#: What the last fine-tuning here cost. Times differ from run to run, so that it is none of the stage's outputs.
LEDGER = CACHE / "finetune" / "ledger.json"
