"""What the stage generate writes."""

from __future__ import annotations

from stages.common.paths import ARTIFACTS
from stages.common.records import ModelName, Record, StopReason

GENERATE_FOLDER = ARTIFACTS / "generate"
RESPONSES = GENERATE_FOLDER / "responses.jsonl"
GENERATE_METRICS = GENERATE_FOLDER / "metrics.json"


class Response(Record):
    """One model's answer to one test row. ``tokens`` is the number of generated ids, with the end-of-text."""

    id: str
    model: ModelName
    text: str
    stop_reason: StopReason
    tokens: int
