"""The answers: the worst and the best side by side with the reference, and all of them in a table.

The table works without a script, which filters and sorts it where there is one. It is cut to the bytes that are left
for it: first its texts, and then its rows, the worst answers staying longest.
"""

from __future__ import annotations

from collections.abc import Sequence

from stages.common.html_page import Content, Html, element, joined
from stages.common.plurals import counted
from stages.common.printable import printable
from stages.common.records import ModelName
from stages.common.results.generate import RESPONSES
from stages.common.results.judge import VERDICTS
from stages.judge.report import rows as ranked
from stages.judge.report.facts import Facts, Missing
from stages.judge.report.parts import CELL, NAMES, cut, definitions, note, number, paragraph, section, wide
from stages.judge.report.rows import Answer, Row

#: Answers that are shown side by side of the worst and of the best, and the characters of each of their texts.
EXAMPLES, _LONGEST = 6, 800
#: Characters of a text in the table that is a long one, and of one at most: the most that fit, the first here.
_LONG = 160
_CUTS = (4000, 2000, 1000, 500, 250, 120, 60)


def examples(facts: Facts) -> Html:
    """The worst and the best answers, side by side with the reference."""
    if isinstance(facts.rows, Missing):
        return section("examples", "Worst and best answers", paragraph(facts.rows.why))
    worst = ranked.worst(facts.rows, min(EXAMPLES, -(-len(facts.rows) // 2)))
    named = {row.id for row in worst}
    best = [row for row in ranked.best(facts.rows, 2 * EXAMPLES) if row.id not in named][:EXAMPLES]
    if not worst and not best:
        return section("examples", "Worst and best answers", paragraph("No answer has a score."))
    return section(
        "examples",
        "Worst and best answers",
        note("One of each category in turn, as far as there are so many categories."),
        *([element("h3", "Worst"), *map(_example, worst)] if worst else []),
        *([element("h3", "Best"), *map(_example, best)] if best else []),
    )


def _example(row: Row) -> Html:
    tuned = row.answers["tuned"]
    columns: list[tuple[str, Content]] = [("reference", _text(row.reference, _LONGEST))]
    columns += [(NAMES[name], _said(row.answers[name])) for name in NAMES if name in row.answers]
    faults = f"faults: {', '.join(tuned.faults)}" if tuned.faults else ""
    below = [cut(tuned.detail, CELL) and f"the judge: {cut(tuned.detail, CELL)}", faults, cut(row.category, 80), row.id]
    return element(
        "article",
        element("p", _text(row.prompt, _LONGEST), class_="prompt"),
        definitions(columns, "beside"),
        note(" · ".join(filter(None, below))),
        class_="example",
    )


def _said(answer: Answer) -> Html:
    """An answer with its verdict and score."""
    return joined([_text(answer.text, _LONGEST), _verdict(answer)], " ")


def _verdict(answer: Answer) -> Html:
    score = "" if answer.score is None else number(answer.score, 0)
    kind = answer.verdict if answer.verdict in ("right", "wrong") else "none"
    return element("span", " ".join(filter(None, [answer.verdict, score])), class_=f"verdict {kind}")


def _text(given: str, most: int) -> Html:
    """A text of a row as it is, also with its line breaks; one that is empty is said to be."""
    return element("span", cut(given, most), class_="said") if given.strip() else element("i", "nothing")


def everything(facts: Facts, budget: int) -> Html:
    """All answers as a table, in no more bytes than these.

    Args:
        facts: the run.
        budget: bytes of UTF-8.
    """
    if isinstance(facts.rows, Missing):
        return section("answers", "All answers", paragraph(facts.rows.why))
    ordered = sorted(facts.rows, key=lambda row: row.badness)
    models = [name for name in NAMES if any(name in row.answers for row in ordered)]
    lengths = [len(text) for row in ordered for text in (row.prompt, row.reference, *_texts(row))]
    lines: list[Html] = []
    for most in _CUTS:
        if most > _CUTS[-1] and sum(min(length, most) for length in lengths) > budget:
            continue  # as HTML it takes no fewer bytes
        lines = [_line(row, models, most) for row in ordered]
        if sum(map(_bytes, lines)) <= budget:
            return _section(
                lines, models, _told(len(lines), len(ordered), most if max(lengths, default=0) > most else 0)
            )
    kept = _fitting(lines, budget)
    return _section(kept, models, _told(len(kept), len(ordered), _CUTS[-1]))


def _bytes(line: Html) -> int:
    return len(line.encode()) + 1


def _fitting(lines: Sequence[Html], budget: int) -> list[Html]:
    """The first lines that fit."""
    kept, taken = [], 0
    for line in lines:
        taken += _bytes(line)
        if taken > budget:
            break
        kept.append(line)
    return kept


def _texts(row: Row) -> list[str]:
    return [answer.text for answer in row.answers.values()]


def _told(shown: int, there: int, most: int) -> str:
    """How much of the answers the table has."""
    said = [f"{counted(shown, 'row')}, the worst answer first."]
    if shown < there:
        said = [f"The {shown:,} worst of {counted(there, 'row')}: more would make this page too large."]
    if most:
        said.append(f"Texts of more than {most:,} characters are cut.")
    if shown < there or most:
        said.append(f"{RESPONSES} and {VERDICTS} have all.")
    return " ".join(said)


def _section(lines: Sequence[Html], models: Sequence[ModelName], told: str) -> Html:
    header = ["row", "verdict", "asked", "reference", *(NAMES[name] for name in models)]
    heads = element("tr", *(element("th", name, scope="col") for name in header))
    table = element("table", element("thead", heads), element("tbody", joined(lines, "\n")), id="rows")
    return section("answers", "All answers", note(told), _controls(), wide(table, "all answers"))


def _line(row: Row, models: Sequence[ModelName], most: int) -> Html:
    tuned, base = row.answers.get("tuned"), row.answers.get("base")
    verdict = tuned.verdict if tuned is not None else ""
    scores = [None if one is None else one.score for one in (base, tuned)]
    shown = " → ".join(number(score, 0) for score in scores[2 - len(models) :])
    cells = [
        joined([cut(row.category, 60), element("small", row.id)], "\n"),
        joined([element("b", verdict, class_=verdict), shown] if verdict else [shown], "\n"),
        _cell(row.prompt, most),
        _cell(row.reference, most),
        *(_cell(row.answers[name].text, most) if name in row.answers else "–" for name in models),
    ]
    if tuned is not None and tuned.faults:
        cells[-1] = joined([cells[-1], element("small", ", ".join(tuned.faults))], "\n")
    return element(
        "tr",
        *(element("td", cell) for cell in cells),
        data_n=row.number,
        data_v=verdict or "scored",
        data_c=printable(cut(row.category, 60)),
        data_b=_score(scores[0]),
        data_s=_score(scores[1]),
    )


def _cell(given: str, most: int) -> Content:
    """A text of the table; a long one scrolls, so that it does not take the room of others."""
    shown = given if len(given) <= most else f"{given[:most]}…"
    return shown if len(shown) <= _LONG else element("div", shown)


def _score(score: float | None) -> str | None:
    return None if score is None else f"{score:.4g}"


def _controls() -> Html:
    """The controls of the script, which shows them."""
    orders = {
        "worst": "worst first",
        "best": "best first",
        "gained": "most gained first",
        "lost": "most lost first",
        "file": "as in the file",
    }
    return element(
        "form",
        _labelled("text", element("input", type="search", id="text", autocomplete="off", placeholder="words of a row")),
        _labelled("category", element("select", element("option", "all", value=""), id="category")),
        _labelled("verdict", element("select", element("option", "all", value=""), id="verdict")),
        _labelled(
            "order",
            element("select", *(element("option", name, value=key) for key, name in orders.items()), id="order"),
        ),
        element("output", id="count", aria_live="polite"),
        id="controls",
        hidden=True,
    )


def _labelled(name: str, control: Html) -> Html:
    return element("label", name, " ", control)
