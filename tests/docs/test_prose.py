"""How the documentation and the code are written: short sentences, the field's terms, links that lead somewhere.

The code's prose is its comments, its docstrings and the texts of its messages.
"""

from __future__ import annotations

import ast
import io
import re
import statistics
import tokenize
from collections.abc import Iterator

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
    r"share[ _]of[ _]peak": "HFU, or MFU",
    r"dearest": "largest",
    r"spoilt": "damaged",
    r"anew": "again, or from scratch",
    r"whence|thereof": "plain words",
}

#: Our modules, by their path in the repository.
CODE = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("stages", "flows", "benchmarks", "tools")
    for path in (ROOT / folder).rglob("*.py")
)
#: Beginnings of an argument's text that make neither a noun phrase nor a sentence: "seed: of the bootstrap".
NO_NOUN_PHRASE = re.compile(
    r"(is|are|was|of|to|as|for|on|in|by|from|with|takes|gives|makes|computes|returns|called|told|given|where to)\b"
)


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


@pytest.mark.parametrize("page", pages.PAGES)
def test_the_words_are_the_field_s(page):
    assert_the_field_s(page, pages.text(page))


def assert_the_field_s(where: str, text: str) -> None:
    for pattern, word in NOT_THE_FIELDS.items():
        found = re.search(rf"\b({pattern})\b", " ".join(text.split()), flags=re.IGNORECASE)
        assert found is None, f"{where}: say {word}, not {found[0]!r}"


def comments(source: str) -> Iterator[tuple[int, str]]:
    """The comments of a module with the number of their first line; those of lines that follow one another are one."""
    first, last, text = 0, -1, ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, words = token.start[0], token.string.lstrip("#: ")
        if line == last + 1:
            last, text = line, f"{text} {words}"
            continue
        if text:
            yield first, text
        first, last, text = line, line, words
    if text:
        yield first, text


def strings(source: str) -> Iterator[tuple[int, str]]:
    """The strings of a module, docstrings and the fixed parts of f-strings among them, with their line numbers."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def arguments(source: str) -> Iterator[tuple[str, str]]:
    """The names and texts of the entries under Args: and Attributes: in a module's docstrings."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docs = ast.get_docstring(node) or ""
            for section in re.findall(r"^(?:Args|Attributes):\n((?:    .*(?:\n|$)|\n)+)", docs, flags=re.MULTILINE):
                yield from re.findall(r"^ {4}(\*{0,2}\w+): (.*)$", section, flags=re.MULTILINE)


@pytest.mark.parametrize("path", CODE)
def test_the_words_of_the_code_are_the_field_s(path):
    source = (ROOT / path).read_text(encoding="utf-8")
    for line, text in (*comments(source), *strings(source)):
        assert_the_field_s(f"{path}:{line}", text)


@pytest.mark.parametrize("path", CODE)
def test_what_is_said_of_an_argument_begins_with_a_noun_phrase_or_a_sentence(path):
    entries = arguments((ROOT / path).read_text(encoding="utf-8"))

    assert [(name, text) for name, text in entries if NO_NOUN_PHRASE.match(text)] == []


def test_the_prose_of_a_module_is_found():
    source = (
        '"""A module."""\n\n#: A constant that is\n#: explained.\nLIMIT = 1  # Why.\n\n\n'
        "def say(what: str, to: str) -> None:\n"
        '    """Say it.\n\n    Args:\n        what: of a word,\n            or: two.\n        to: the reader.\n\n'
        '    Raises:\n        OSError: is full.\n    """\n'
        '    raise OSError(f"no {what} " "left")\n'
    )

    assert list(comments(source)) == [(3, "A constant that is explained. Why.")]
    assert {"A module.", "no ", " left"} <= {text for _, text in strings(source)}
    assert list(arguments(source)) == [("what", "of a word,"), ("to", "the reader.")]
    assert NO_NOUN_PHRASE.match("of a word,")
    assert not NO_NOUN_PHRASE.match("offset of the entry.")


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
