"""The judge: who it is, what it made of answers whose quality is known, and what it cannot do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stages.common.html_page import Content, Html, element, joined, table
from stages.common.metrics.judge import JudgeMetrics, SelfTest
from stages.common.plurals import counted
from stages.judge.probes import REWORDED, RIGHT
from stages.judge.report.drawings import strip
from stages.judge.report.facts import Facts, Missing
from stages.judge.report.parts import CELL, cut, definitions, folded, note, number, paragraph, section, wide
from stages.judge.scores.statistics import SCALE
from stages.running.summary_parts.scores import REFERENCE_JUDGE


def judge(facts: Facts) -> Html:
    """The section of the judge."""
    if isinstance(facts.judged, Missing):
        return section("judge", "The judge", paragraph(facts.judged.why))
    return section("judge", "The judge", *_judge(facts.judged, facts.card))


def _judge(judged: JudgeMetrics, card: Mapping[str, Any]) -> Iterator[Html]:
    identity, test = judged.judge, judged.self_test
    yield definitions([*_verdict(judged), *_agreement(card)])
    yield element("h3", "What it cannot do")
    yield element("ul", *(element("li", limit) for limit in _limits(judged)))
    yield element("h3", "Its self-test: answers whose quality is known")
    yield wide(_self_test(test), "self-test of the judge")
    fields = [(name, cut(str(value), CELL)) for name, value in identity.model_dump().items() if value is not None]
    yield folded("Identity: scores of two judges are comparable if their fingerprints are equal", definitions(fields))
    for name, other in zip(judged.panel.names[1:], judged.panel.judges, strict=True) if judged.panel else ():
        yield note(f"Further judge: {other.marked(name)}, fingerprint {other.fingerprint}")


def _verdict(judged: JudgeMetrics) -> Iterator[tuple[str, Content]]:
    test = judged.self_test
    yield "judge", judged.judge.model or f"the {judged.judge.name}"
    yield "self-test", joined(["not passed: ", test.refused]) if test.refused else "passed"
    yield "right answers above wrong ones by", f"{number(test.separation)} points"
    yield "nearest to right ones", f"{test.smallest}, {number(test.separations.get(test.smallest))} points below"
    yield "pairs with a near miss in order", f"{number(100 * test.right_above_near, 0)} %"
    if test.weak_on:
        yield "weak on", ", ".join(test.weak_on)
    if test.unstable:
        yield "another score when asked again", f"{number(100 * test.unstable, 0)} %"
    if test.without_score:
        yield "known answers without a score", f"{test.without_score:,}"


def _agreement(card: Mapping[str, Any]) -> Iterator[tuple[str, Content]]:
    """How far the judge agrees with answers graded by hand, by its card; of the held-out half where there is one."""
    found = card.get("held_out") or card.get("all_rows")
    if not found:
        yield "beside answers graded by hand", "not measured here: make judge-check"
        return
    shown = [f"r {number(found.get('pearson'), 2)}", f"AUC {number(found.get('auc'), 3)}"]
    yield "beside answers graded by hand", f"{', '.join(shown)}, on {counted(found.get('answers', 0), 'answer')}"


def _limits(judged: JudgeMetrics) -> Iterator[str]:
    if judged.judge.measure is not None:
        yield REFERENCE_JUDGE
        if judged.tuned.open:
            rows = counted(judged.tuned.open, "row has", "rows have")
            yield f"{rows} many right answers. It cannot score these, and they are in no figure."
    else:
        yield (
            "A language model grades each answer beside the reference. It may prefer long answers, and it errs: "
            "make judge-check says how far it agrees with grades by hand."
        )
    if judged.calibration is None:
        yield "Its scores were not set beside human labels in this run: python -m flows.grade collects some."
    yield "A score is of these test rows, and says nothing of other tasks."


def _self_test(test: SelfTest) -> Html:
    high = (RIGHT, *REWORDED)
    rows = []
    for kind, mean in test.kinds.items():
        given = test.scores.get(kind, [])
        spread = f"{number(min(given), 0)} to {number(max(given), 0)}" if given else "–"
        deserved = "high" if kind in high else "low"
        drawn = strip([("tuned" if kind in high else "base", mean, None)], *SCALE)
        rows.append((kind, deserved, len(given), number(mean), spread, drawn))
    header = ["answers", "deserve", "number", "mean score", "lowest to highest", "0 to 100"]
    return table(header, rows, most=len(rows), figures=(3, 4))
