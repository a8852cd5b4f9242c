"""The report as one page: all sections in order, in fewer than `MOST` bytes whatever the rows hold."""

from __future__ import annotations

from pathlib import Path

from stages.common.html_page import Html, document, element, joined
from stages.judge.report import answers, breakdown, compared, judging, lineage, overview, recipe, scores, training
from stages.judge.report.facts import Facts
from stages.tokenize import shown

#: Bytes of the page at most.
MOST = 2_000_000
#: Bytes that are kept free for what is around the table of all answers.
_AROUND = 4_000

_CONTENTS = {
    "scores": "Scores",
    "categories": "Categories",
    "faults": "Faults",
    "examples": "Worst and best",
    "compared": "Other runs",
    "training": "Training",
    "recipe": "What ran",
    "data": "Data",
    "labels": "Labels",
    "judge": "Judge",
    "costs": "Costs",
    "lineage": "Make it again",
    "answers": "All answers",
}


def page(facts: Facts, about: str = "", champion: str = "") -> str:
    """The page; the same facts give the same text.

    Args:
        facts: the run.
        about: the digest of the results, by which a program knows what the page is of.
        champion: the version of a registered model by which these results are the champion's; empty where they are not.
    """
    style, script = _file("page.css") + shown.STYLE, _file("page.js")
    sections = [
        *overview.head(facts, champion),
        _contents(),
        scores.scores(facts),
        breakdown.categories(facts),
        breakdown.faults(facts),
        answers.examples(facts),
        compared.compared(facts),
        training.losses(facts),
        recipe.ran(facts),
        recipe.data(facts),
        recipe.labels(facts),
        judging.judge(facts),
        lineage.costs(facts),
        lineage.lineage(facts),
    ]
    title = f"{overview.title(facts)} · instruct-pipeline"

    def whole(table: Html) -> str:
        body = element("main", joined([*sections, table], "\n"))
        return document(title, [body], style=style, script=script, about=about)

    left = MOST - _AROUND - len(whole(Html("")).encode())
    return whole(answers.everything(facts, left))


def _contents() -> Html:
    links = (element("a", name, href=f"#{key}") for key, name in _CONTENTS.items())
    return element("nav", joined(links, " "), aria_label="Contents")


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
