"""A file of each stage's results, by which one can tell whether the stage has run, and with which result."""

from __future__ import annotations

from stages.common.results.download import DATASET
from stages.common.results.finetune import FINETUNE_METRICS
from stages.common.results.generate import GENERATE_METRICS
from stages.common.results.judge import JUDGE_METRICS
from stages.common.results.split import SPLIT_METRICS
from stages.common.results.tokenize import TOKENS_METRICS

#: By stage, in their order.
RESULTS = {
    "download": DATASET,
    "split": SPLIT_METRICS,
    "tokenize": TOKENS_METRICS,
    "finetune": FINETUNE_METRICS,
    "generate": GENERATE_METRICS,
    "judge": JUDGE_METRICS,
}
#: Those with figures, which a summary tells.
FIGURES = {stage: path for stage, path in RESULTS.items() if stage != "download"}
