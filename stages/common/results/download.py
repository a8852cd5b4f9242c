"""What the stage download writes."""

from __future__ import annotations

from stages.common.paths import ARTIFACTS

DATASET = ARTIFACTS / "download" / "dataset.json"
BASE_MODEL = ARTIFACTS / "download" / "model"
TOKENIZER = ARTIFACTS / "download" / "tokenizer"
