"""The head of the report: what came of the run in one line, what to know before it is believed, and the key figures."""

from __future__ import annotations

from collections.abc import Iterator

from stages.common.html_page import Content, Html, element, joined
from stages.common.metrics.judge import Interval, JudgeMetrics
from stages.common.plurals import counted, word
from stages.judge.report.facts import Facts, Missing
from stages.judge.report.parts import definitions, ends, figure, number, paragraph, warning
from stages.running.summary_parts.scores import FEW_ROWS

#: The profile whose score says nothing of a model's use.
_QUICK = "quick"


def title(facts: Facts) -> str:
    """What came of the run, as the title of the page."""
    judged = facts.judged
    if isinstance(judged, Missing):
        return "A run without scores"
    if (right := judged.tuned.right) is not None:
        return f"{right.right:,} of {counted(right.n, 'answer')} {word(right.right, 'is', 'are')} right"
    mean = judged.tuned.mean
    return "No answer has a score" if mean is None else f"A score of {number(mean)} of 100"


def head(facts: Facts, champion: str = "") -> Iterator[Html]:
    """The head of the page."""
    yield element(
        "header",
        element("p", "instruct-pipeline · report of a run", class_="kicker"),
        element("h1", title(facts)),
        element("p", _said(facts), class_="lead"),
        element("p", _by(facts, champion), class_="byline"),
    )
    yield from warnings(facts)
    yield definitions(list(_figures(facts)), "figures")


def _said(facts: Facts) -> Content:
    """How sure the title is, and what it is to be compared with."""
    judged = facts.judged
    if isinstance(judged, Missing):
        return judged.why
    right, before = judged.tuned.right, judged.base
    if right is None:
        was = "" if before is None or before.mean is None else f" Before fine-tuning it was {number(before.mean)}."
        return f"{_interval(judged.tuned.interval)}, on {counted(judged.tuned.scored, 'answer')}.{was}"
    share = f"{number(100 * right.share)} %, {_interval(right.interval, 100)}."
    if before is None or before.right is None:
        return share
    change = judged.right_difference
    moved = f", {change.gained:,} gained and {change.lost:,} lost" if change is not None else ""
    return f"{share} Before fine-tuning {before.right.right:,} of {before.right.n:,} were right{moved}."


def _interval(found: Interval, scale: float = 1.0) -> str:
    around = ends(found, scale)
    return f"95 % interval {around}" if around else "no interval"


def _by(facts: Facts, champion: str) -> str:
    judged = facts.judged
    parts = [f"profile {facts.origin.settings.profile}", f"commit {facts.commit[:7]}" if facts.commit else "no commit"]
    if not isinstance(judged, Missing):
        parts.append(f"judged by {judged.judge.marked(_judge(judged))}")
    if champion:
        parts.append(f"the champion: {champion}")
    return " · ".join(parts)


def _judge(judged: JudgeMetrics) -> str:
    return judged.judge.model or f"the {judged.judge.name}"


def warnings(facts: Facts) -> Iterator[Html]:
    """What is to be known before a figure of the report is believed."""
    origin = facts.origin
    for lines in (origin.unrecorded_lines(), origin.outdated_lines(), origin.changed_lines(), origin.warnings()):
        if lines:
            yield warning(joined(lines, "; "))
    judged = facts.judged
    if isinstance(judged, Missing):
        return
    test = judged.self_test
    if test.refused:
        yield warning(f"The judge did not pass its self-test: {test.refused}")
    if judged.tuned.mean is not None and judged.tuned.interval.low is None:
        yield warning(f"{FEW_ROWS[0].upper()}{FEW_ROWS[1:]}.")
    if test.cannot_tell:
        share = f"{100 * test.right_above_near:.0f} %"
        yield warning(f"This judge cannot tell right from wrong: of pairs with a near miss {share} are in order.")
    if origin.settings.profile == _QUICK:
        yield paragraph(
            "The profile quick trains a small model from random weights: its scores say that the machine works, "
            "not that the model is of use."
        )


def _figures(facts: Facts) -> Iterator[tuple[str, Content]]:
    judged, training = facts.judged, facts.training
    if not isinstance(judged, Missing):
        yield from _scores(judged)
    if not isinstance(training, Missing):
        losses = f"{number(training.val_loss_before, 3)} → {number(training.val_loss, 3)}"
        yield "validation loss, nats a token", joined([element("b", losses), f"kept: step {training.kept_step:,}"], " ")
    if facts.compared.same:
        yield "compared", element("b", facts.compared.words)
    elif (there := facts.compared.found) is not None:
        known = there.same_judge and there.difference is not None
        difference = number(there.difference, 1, "+")
        points = f"{difference} points" if known else ""
        yield f"beside {there.other}", joined([element("b", there.verdict), points], " ")


def _scores(judged: JudgeMetrics) -> Iterator[tuple[str, Content]]:
    tuned, base = judged.tuned, judged.base
    if tuned.right is not None:
        was = f"{base.right.right:,} → " if base is not None and base.right is not None else ""
        yield "right answers", joined([element("b", f"{was}{tuned.right.right:,}"), f"of {tuned.right.n:,}"], " ")
    was = f"{number(base.mean)} → " if base is not None and base.mean is not None else ""
    interval = element("span", ends(tuned.interval), class_="ends")
    yield "mean score of 100, before → after", joined([element("b", f"{was}{number(tuned.mean)}"), interval], " ")
    if (change := judged.difference) is not None:
        yield "difference in points", element("b", figure(change.mean, change.interval, sign="+"))
