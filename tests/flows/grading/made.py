"""Answers to grade."""

import shutil
from pathlib import Path

from stages.common.files import write_jsonl
from stages.common.results.generate import RESPONSES
from stages.common.results.split import split_file
from tests.root import ROOT


def fill(root: Path, rows: int) -> None:
    """Write params.yaml, test rows of the categories a and b in turn, and two models' answers.

    Row 7 is "Say 7.", and the fine-tuned model says 7. The base model says so in every fourth row, and else "no".
    """
    shutil.copy(ROOT / "params.yaml", root)
    numbers = range(rows)
    row = {"input": ""}
    write_jsonl(
        root / split_file("test"),
        [
            row | {"id": f"r{n:02}", "instruction": f"Say {n}.", "output": str(n), "category": "ab"[n % 2]}
            for n in numbers
        ],
    )
    answer = {"stop_reason": "end_of_text", "tokens": 2}
    texts = {"base": ["no" if n % 4 else str(n) for n in numbers], "tuned": [str(n) for n in numbers]}
    write_jsonl(
        root / RESPONSES,
        [answer | {"id": f"r{n:02}", "model": model, "text": texts[model][n]} for model in texts for n in numbers],
    )
