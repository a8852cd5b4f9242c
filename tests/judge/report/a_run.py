"""A run whose files are written by hand, for the tests of its report."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.common.files import sha256, write_jsonl
from stages.common.metrics.gate import Finding, GateReport
from stages.common.metrics.generate import GenerateMetrics
from stages.common.metrics.judge import CategoryMean, Mean, Right, RightDifference
from stages.common.records import write_metrics
from stages.common.results.finetune import FINETUNE_METRICS, HISTORY
from stages.common.results.generate import GENERATE_METRICS, RESPONSES
from stages.common.results.judge import JUDGE_METRICS, VERDICTS
from stages.common.results.split import GATE_REPORT, SPLIT_METRICS, split_file
from stages.running import digests
from stages.running.costs import TRAINING_COSTS
from tests import results
from tests.root import ROOT

#: id, category, instruction, input, reference, answer before, answer after, score before, score after, right after
Given = tuple[str, str, str, str, str, str, str, float, float | None, bool | None]

ROWS: list[Given] = [
    ("r1", "spelling", "Spell:", "colour", "c-o-l-o-u-r", "blah blah", "c-o-l-o-u-r", 0.0, 100.0, True),
    ("r2", "spelling", "Spell:", "it", "i-t", "blah", "i-d", 0.0, 20.0, False),
    ("r3", "facts", "Name the capital of France.", "", "Paris.", "blah", "Rome.", 10.0, 0.0, False),
    ("r4", "facts", "Name the capital of Italy.", "", "Rome.", "Rome.", "Rome.", 100.0, 100.0, True),
    ("r5", "open", "Write a rhyme.", "", "cat, hat", "blah", "dog", 0.0, None, None),
]


def write(root: Path, rows: list[Given] | None = None, **parts: Any) -> Path:
    """A run with these rows in a folder; further parts are those of the judge's metrics."""
    rows = ROWS if rows is None else rows
    root.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "params.yaml", root / "params.yaml")
    census = results.split_metrics(all=1059, train=1000, test=len(rows), val=59 - len(rows))
    kinds = {name: {"train": 10, "test": 2, "val": 1} for name in dict.fromkeys(row[1] for row in rows)}
    write_metrics(root / SPLIT_METRICS, census.model_copy(update={"categories": kinds}))
    write_metrics(root / GATE_REPORT, gate(rows))
    history = [
        {"step": 0, "epoch": 0, "tokens_seen": 0, "val_loss": 8.0},
        *({"step": step, "epoch": 1, "tokens_seen": step, "train_loss": 8.0 / step} for step in range(1, 4)),
        {"step": 4, "epoch": 1, "tokens_seen": 4, "train_loss": 2.0, "val_loss": 2.5},
    ]
    write_jsonl(root / HISTORY, history)
    losses = {"val_loss_before": 8.0, "val_loss": 2.5, "best_val_loss": 2.5, "best_step": 4, "kept_step": 4}
    write_metrics(root / FINETUNE_METRICS, results.finetune_metrics(steps=4, parameters=6_862_464, **losses))
    costs = results.training_costs(history=sha256(root / HISTORY), seconds=65.0, peak_memory_bytes=3 << 29)
    write_metrics(root / TRAINING_COSTS, costs)
    _write_answers(root, rows)
    write_metrics(root / JUDGE_METRICS, judged(rows, **parts))
    return root


def _write_answers(root: Path, rows: list[Given]) -> None:
    names = ("id", "category", "instruction", "input", "output")
    write_jsonl(root / split_file("test"), [dict(zip(names, row, strict=False)) for row in rows])
    made = {"stop_reason": "end_of_text", "tokens": 1}
    responses = [{"id": row[0], "model": model, "text": row[at]} | made for row in rows for model, at in BOTH]
    write_jsonl(root / RESPONSES, responses)
    write_metrics(
        root / GENERATE_METRICS, GenerateMetrics(base=results.answer_metrics(), tuned=results.answer_metrics())
    )
    verdicts = []
    for row in rows:
        scored = {"status": "scored", "detail": "key words", "cluster": row[0]}
        opened = {"status": "open", "score": None, "detail": "many right answers"}
        verdicts.append({"id": row[0], "model": "base", "score": row[7], "right": row[7] == 100} | scored)
        after = scored | {"score": row[8], "right": row[9], "faults": [] if row[9] else ["wrong but fluent"]}
        verdicts.append({"id": row[0], "model": "tuned"} | (opened if row[8] is None else after))
    write_jsonl(root / VERDICTS, verdicts)


BOTH = (("base", 5), ("tuned", 6))


def judged(rows: list[Given], **parts: Any) -> Any:
    """The judge's metrics of these rows."""
    known = [row for row in rows if row[9] is not None]
    kinds = {}
    for name in dict.fromkeys(row[1] for row in rows):
        own = [row for row in rows if row[1] == name]
        scored = [row for row in own if row[8] is not None]
        mean = sum(row[8] or 0.0 for row in scored) / len(scored) if scored else None
        right = sum(row[9] is True for row in scored) if scored else None
        kinds[name] = CategoryMean(n=len(own), scored=len(scored), mean=mean, right=right)
    share = sum(row[9] is True for row in known) / len(known) if known else 0.0
    right = Right(n=len(known), right=round(share * len(known)), share=share, interval=results.interval(0.15, 0.85))
    tuned = results.model_scores(55.0, scored=len(known), n=len(rows), right=right, open=1, faults={"too long": 12.5})
    before = Right(n=len(known), right=1, share=0.25, interval=results.interval(0.05, 0.7))
    base = results.model_scores(27.5, scored=len(known), n=len(rows), right=before, faults={"repetitive": 50.0})
    change = RightDifference(n=4, gained=1, lost=0, difference=0.25, interval=results.interval(-0.2, 0.6))
    difference = Mean(n=4, mean=27.5, interval=results.interval(-10.0, 60.0))
    return results.judge_metrics(
        parts.pop("judge", results.identity()),
        tuned.model_copy(update={"categories": kinds}),
        **{"base": base, "difference": difference, "right_difference": change} | parts,
    )


def gate(rows: list[Given]) -> GateReport:
    """What the checks of the rows found: a leak, whose words are those of the first category."""
    found = Finding(
        name="leaks", severity="warning", count=3, groups=None, limit=None, what=rows[0][1], ids=["a"], examples=[]
    )
    rest: dict[str, Any] = {
        "characters": {},
        "categories": {},
        "scripts": {},
        "languages": {},
        "templates": [],
        "longest": {},
    }
    return GateReport(rows={"all": 1}, findings=[found], passed=["emails"], **rest)


def lock(root: Path, **values: Any) -> None:
    """A dvc.lock that records the files of the run, with the values of its params.yaml but for these, by section."""
    params = YAML(typ="safe").load(root / "params.yaml")
    stages = {}
    for stage in ("download", "split", "tokenize", "finetune", "generate", "judge"):
        section = params[stage] | values.get(stage, {})
        outs = sorted(path for path in (root / "artifacts" / stage).rglob("*") if path.is_file())
        named = [{"path": str(path.relative_to(root)), "md5": digests.md5(path)} for path in outs]
        stages[stage] = {"params": {"params.yaml": {stage: section}}, "outs": named}
    stages["download"]["deps"] = [{"path": "data", "md5": "0123456789abcdef0123456789abcdef.dir"}]
    YAML().dump({"schema": "2.0", "stages": stages}, root / "dvc.lock")
