"""What the stage download writes."""

from __future__ import annotations

from stages.common.paths import ARTIFACTS

DATASET = ARTIFACTS / "download" / "dataset.json"
#: Rows of the user's file that were left out or changed.
LEFT_OUT = ARTIFACTS / "download" / "left_out.json"
BASE_MODEL = ARTIFACTS / "download" / "model"
TOKENIZER = ARTIFACTS / "download" / "tokenizer"
