"""Outputs that were made again, beside what they were."""

from __future__ import annotations

from pathlib import Path

from flows.again import outcome
from flows.again.original import Original

MODEL, ANSWERS, SCORES = Path("artifacts/finetune/model"), Path("artifacts/generate/r.jsonl"), Path("artifacts/judge/v")
ORIGINAL = Original(
    "calm-otter",
    "c" * 40,
    lock={
        "finetune": {"deps": [{"path": "stages/x.py"}]},
        "generate": {"deps": [{"path": str(MODEL)}]},
        "judge": {"deps": [{"path": str(ANSWERS)}]},
    },
    outputs={"finetune": {MODEL: "aaaaaaaaaa.dir"}, "generate": {ANSWERS: "b" * 32}, "judge": {SCORES: "c" * 32}},
)


def lines(now: dict[str, dict[Path, str]], then: dict[str, float], figures: dict[str, float]) -> list[str]:
    found = outcome.compared(ORIGINAL, now)
    return [*outcome.stage_lines(found, then, figures), outcome.result_line(found)]


def test_equal_outputs_are_told_stage_by_stage() -> None:
    assert lines(dict(ORIGINAL.outputs), {}, {}) == [
        "stages      finetune  equal    1 output",
        "            generate  equal    1 output",
        "            judge     equal    1 output",
        "result      equal: all 3 stages made the same bytes again",
    ]


def test_the_first_difference_is_told_from_those_that_follow_from_it() -> None:
    now = {"finetune": {MODEL: "dddddddddd.dir"}, "generate": {ANSWERS: "e" * 32}, "judge": {SCORES: "c" * 32}}
    assert lines(now, {"loss/val_kept": 0.86712345}, {"loss/val_kept": 0.8665}) == [
        "stages      finetune  differs  1 of 1 output",
        "                      artifacts/finetune/model  aaaaaaa → ddddddd",
        "                      loss/val_kept  0.867123 → 0.8665",
        "            generate  differs  1 of 1 output, of other inputs",
        "                      artifacts/generate/r.jsonl  bbbbbbb → eeeeeee",
        "            judge     equal    1 output",
        "result      1 of 3 stages equal; finetune is the first that differs; generate follows",
    ]


def test_an_output_that_is_missing_differs() -> None:
    found = outcome.compared(ORIGINAL, {"finetune": {}, "generate": {ANSWERS: "b" * 32}, "judge": {SCORES: "c" * 32}})
    assert [one.equal for one in found] == [False, True, True]
    assert "artifacts/finetune/model  aaaaaaa → nothing" in "\n".join(outcome.stage_lines(found, {}, {}))
