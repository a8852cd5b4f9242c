"""How the documentation is written: short sentences, the field's terms, links that lead somewhere."""

from __future__ import annotations

import re
import statistics

import pytest

from tests.docs import pages
from tests.root import ROOT
from tools import decisions_index

#: The longest average sentence of a page, in words.
AVERAGE = 20
#: The longest README, in lines.
README_LINES = 150

#: Words that are not the field's, and those that are.
NOT_THE_FIELDS = {
    r"mend(s|ed|ing)?": "fix",
    r"foretold|foretells?": "estimated",
    r"filled up": "padded",
    r"better scores?": "human labels",
    r"common (prefix|beginning)": "shared prefix",
    r"twins?": "duplicates",
    r"guessed tokens?|guesses": "draft tokens",
    r"share of peak": "MFU",
    r"dearest": "largest",
    r"anew": "again, or from scratch",
    r"whence|thereof": "plain words",
}


@pytest.mark.parametrize("page", pages.GUIDES)
def test_sentences_are_short_on_average(page):
    counts = [pages.words(sentence) for sentence in pages.sentences(page)]

    assert counts
    longest = max(pages.sentences(page), key=pages.words)
    assert statistics.mean(counts) <= AVERAGE, f"the longest: {longest}"


def test_sentences_and_words_are_counted():
    found = pages._split("One `a b` sentence. See [the page](x.md): it has 3.5 words! *And* this")

    assert found == ["One X sentence.", "See the page: it has 3.5 words!", "*And* this"]
    assert [pages.words(sentence) for sentence in found] == [3, 7, 2]


@pytest.mark.parametrize("page", pages.GUIDES)
def test_the_words_are_the_field_s(page):
    for pattern, word in NOT_THE_FIELDS.items():
        found = re.search(rf"\b({pattern})\b", pages.text(page), flags=re.IGNORECASE)
        assert found is None, f"{page}: say {word}, not {found[0]!r}"


def test_the_readme_is_short():
    assert len(pages.text("README.md").splitlines()) <= README_LINES


@pytest.mark.parametrize("page", pages.PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", pages.text(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        there = ROOT / page if not path else (ROOT / page).parent / path
        assert there.exists(), f"{page}: {target}"
        assert not anchor or anchor in pages.anchors(there), f"{page}: {target}"


def test_the_readme_leads_to_every_page():
    linked = set(re.findall(r"\]\(([^)#\s]+)[^)]*\)", pages.text("README.md")))

    assert set(pages.PAGES) - {"README.md"} <= linked


@pytest.mark.parametrize("page", pages.GUIDES)
def test_no_page_names_a_folder_of_somebody_s_machine(page):
    assert re.search(r"(?<![\w.])/(home|root|Users|work)/", pages.text(page)) is None


def test_the_glossary_has_a_line_a_term_in_order_of_the_alphabet():
    lines = [line for line in pages.text("docs/glossary.md").splitlines() if line.startswith("- ")]
    terms = [re.match(r"- \*\*(.+?)\*\*: \S.*\.$", line) for line in lines]

    assert len(lines) > 40
    assert all(terms), [line for line, term in zip(lines, terms, strict=True) if not term]
    names = [term[1].lower() for term in terms]
    assert names == sorted(set(names))


def test_the_decisions_index_is_that_of_the_decisions():
    source = pages.text("docs/decisions.md")

    assert decisions_index.with_index(source) == source, "python -m tools.decisions_index --write"
