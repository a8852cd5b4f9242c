"""Every path that more than one module needs, relative to the root of the repository.

Programs run with the root as their working directory, as DVC starts them.
"""

from __future__ import annotations

import os
from pathlib import Path

PARAMS = Path("params.yaml")
PROFILES = Path("profiles")
DATA = Path("data")
ARTIFACTS = Path("artifacts")

#: What must outlive a killed stage. Not under artifacts/: DVC deletes a stage's outputs before it runs the stage.
CACHE = Path(".cache")

DATASET = ARTIFACTS / "download" / "dataset.json"
BASE_MODEL = ARTIFACTS / "download" / "model"
TOKENIZER = ARTIFACTS / "download" / "tokenizer"

SPLIT = ARTIFACTS / "split"
SPLIT_METRICS = SPLIT / "metrics.json"

TOKENS = ARTIFACTS / "tokenize"
TOKENS_FORMAT = TOKENS / "format.json"
TOKENS_METRICS = TOKENS / "metrics.json"

FINETUNE = ARTIFACTS / "finetune"
TUNED_MODEL = FINETUNE / "model"
HISTORY = FINETUNE / "history.jsonl"
SAMPLES = FINETUNE / "samples.jsonl"
FINETUNE_METRICS = FINETUNE / "metrics.json"
LOSS_CSV = FINETUNE / "loss.csv"
LOSS_PLOT = FINETUNE / "loss.png"
#: What the last fine-tuning here cost. Times differ from run to run, so that it is none of the stage's outputs.
LEDGER = CACHE / "finetune" / "ledger.json"

GENERATE = ARTIFACTS / "generate"
RESPONSES = GENERATE / "responses.jsonl"
GENERATE_METRICS = GENERATE / "metrics.json"

JUDGE = ARTIFACTS / "judge"
#: The verdicts of judges behind a server, and what the last judging here took.
JUDGE_CACHE = CACHE / "judge"
JUDGE_LEDGER = JUDGE_CACHE / "ledger.json"
VERDICTS = JUDGE / "verdicts.jsonl"
PAIRWISE = JUDGE / "pairwise.jsonl"
JUDGE_METRICS = JUDGE / "metrics.json"
SCORES = JUDGE / "scores.json"
SCORES_PLOT = JUDGE / "scores.png"
SCORES_CSV = JUDGE / "scores.csv"

#: The environment variable that holds the absolute root of the user's repository where a stage runs in another folder,
#: a copy of it: relative paths that lead out of the repository start there.
ROOT_VARIABLE = "PIPELINE_ROOT"

#: The names of the splits, in the book's order (chapter 7.2: train, then test, then validation).
SPLITS = ("train", "test", "val")


def split_file(name: str) -> Path:
    """The rows of split ``name``, one Example a line."""
    return SPLIT / f"{name}.jsonl"


def tokens_file(name: str) -> Path:
    """The tokenised rows of split ``name``, one Encoded a line."""
    return TOKENS / f"{name}.jsonl"


def local_path(source: str) -> Path:
    """The path that a source in params.yaml names.

    In a copy of the repository a relative path that leads out of it starts at the repository itself
    (`ROOT_VARIABLE`): where the copy lies is nothing that whoever wrote the path could know.
    """
    path = Path(source)
    leads_out = not path.is_absolute() and Path(os.path.normpath(path)).parts[:1] == (os.pardir,)
    return Path(os.environ.get(ROOT_VARIABLE, ""), path) if leads_out else path
