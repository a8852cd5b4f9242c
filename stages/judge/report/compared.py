"""The scores beside those of other runs: the difference with its interval, the verdict, and what that rests on."""

from __future__ import annotations

from collections.abc import Iterator

from stages.common.html_page import Html, element
from stages.common.metrics.beside import Beside
from stages.common.metrics.judge import Interval
from stages.common.plurals import counted
from stages.judge.report.drawings import strip
from stages.judge.report.facts import Facts
from stages.judge.report.parts import code, definitions, figure, note, number, paragraph, section
from stages.judge.scores.bootstrap import LEVEL
from stages.running.beside import IDENTICAL, PROGRAM

#: The command that compares any run, before the name of that of the page.
COMPARE = f"python -m {PROGRAM} RUN"
#: The narrowest scale of a difference, in points to either side of 0.
_SCALE = 10.0


def compared(facts: Facts) -> Html:
    """The section of the comparisons."""
    return section("compared", "Beside other runs", *_compared(facts))


def _compared(facts: Facts) -> Iterator[Html]:
    told = facts.compared
    if told.words:
        yield paragraph(_sentence(told.words))
    if told.found:
        yield from beside_another(told.found)
    elif not told.words:
        yield paragraph("There are no scores to compare.")
    for one in facts.further.found:
        yield from beside_another(one)
    for why in facts.further.missing:
        yield paragraph(_sentence(why))
    if facts.further.alone:
        return  # the command is for the results in the folder, and these are of a copy
    yield note("To compare with any other run, which make runs lists:")
    yield code(f"{COMPARE} artifacts")


def _sentence(why: str) -> str:
    return f"{why[0].upper()}{why[1:]}."


def beside_another(found: Beside) -> Iterator[Html]:
    """One comparison: its verdict in words, its figures, and its interval as a strip.

    Args:
        found: the scores beside another run's.
    """
    yield element("p", element("b", _sentence(found.verdict)), f" Compared with {found.other}.")
    if found.mean is None and found.rests_on:
        yield paragraph(_sentence(found.rests_on))
    if not found.same_judge or found.mean is None or found.mean_there is None or found.verdict == IDENTICAL:
        return
    around = Interval(level=LEVEL, low=found.low, high=found.high)
    pairs = [
        ("there", f"{number(found.mean_there)} points"),
        ("here", f"{number(found.mean)} points, on {counted(found.n, 'row')}"),
        ("difference in points, here minus there", figure(found.difference, around, sign="+")),
    ]
    if found.detectable is not None:
        label = "smallest true difference that would be found about 3 times in 4"
        pairs.append((label, f"{number(found.detectable)} points"))
    if found.rests_on:
        pairs.append(("what that rests on", found.rests_on))
    yield definitions(pairs)
    widest = max(_SCALE, *(1.1 * abs(end) for end in (found.low, found.high, found.difference) if end is not None))
    yield element(
        "div",
        strip([("tuned", found.difference, around)], -widest, widest),
        element("p", f"−{widest:.0f}", element("span", "0: no difference"), f"+{widest:.0f}", class_="scale"),
        class_="difference",
        aria_hidden="true",
    )
