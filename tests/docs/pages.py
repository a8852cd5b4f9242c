"""The documentation as data: its pages, the commands in their fenced blocks, and their prose."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.root import ROOT

#: Every page, by its path in the repository. The decisions are a record: what they name is that of their day.
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks/README.md", *ROOT.glob("docs/*.md"))
)
GUIDES = [page for page in PAGES if page != "docs/decisions.md"]

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of shell commands.

    Args:
        page: path of the page.
        line: line of the block's fence in the page, from 1.
        needs: what a machine needs to run it, such as a GPU; None: it runs anywhere, and the walk runs it.
        body: the commands.
    """

    page: str
    line: int
    needs: str | None
    body: str

    def commands(self) -> list[str]:
        """The commands, one a line; a line that ends in a backslash goes on in the next."""
        joined = self.body.replace("\\\n", " ")
        return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]


def text(page: str) -> str:
    """What a page says."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> Iterator[Block]:
    """The blocks of shell commands: those whose fence says ``sh``, or ``sh needs=WHAT``."""
    source = text(page)
    for found in _FENCE.finditer(source):
        language, _, options = found["info"].strip().partition(" ")
        if language not in ("sh", "bash", "shell", "console"):
            continue
        assert language == "sh", f"{page}: a block of commands begins with ```sh, not ```{language}"
        needs = re.fullmatch(r"needs=([a-z]+)", options) if options else None
        assert needs or not options, f"{page}: expected ```sh or ```sh needs=WHAT, found ```{found['info']}"
        line = source.count("\n", 0, found.start()) + 1
        yield Block(page, line, needs[1] if needs else None, found["body"])


def all_blocks() -> list[Block]:
    """The blocks of all pages."""
    return [block for page in GUIDES for block in blocks(page)]


def inline(page: str) -> list[str]:
    """What stands between backticks outside of fenced blocks."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", _FENCE.sub("", text(page)))


def sentences(page: str) -> list[str]:
    """The sentences of a page's prose, without headings, tables, fenced blocks and pictures.

    A list item, a paragraph and a cell end a sentence. What stands between backticks is one word.

    >>> _split("One `a b` sentence, e.g. this. Another one: 1.5 words?")
    ['One X sentence, e.g. this.', 'Another one: 1.5 words?']
    """
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", _FENCE.sub("\n\n", text(page))):
        lines = [line for line in paragraph.splitlines() if not re.match(r"\s*(#|\||!\[|<!--)", line)]
        found += _split(re.sub(r"^\s*(?:[-*]|\d+\.) ", "", " ".join(line.strip() for line in lines)))
    return found


def _split(paragraph: str) -> list[str]:
    plain = re.sub(r"`[^`]+`", "X", paragraph)
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", plain)
    return [one for one in re.split(r"(?<=[.!?])[*_)]*\s+(?=[A-Z*_(])", plain.strip()) if re.search(r"\w", one)]


def words(sentence: str) -> int:
    """The number of words in a sentence."""
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
