"""Text from outside in the Markdown of Prefect's pages, as a Markdown reader sees it."""

from __future__ import annotations

from typing import Any

import pytest
from markdown_it import MarkdownIt

from flows.markdown import cell, fenced

HOSTILE = "a|b `c` ``` <script>alert(1)</script> &lt; *d* [e](http://f) ![g](h) ~~~ \\| # \x1b[2J"


def tokens(text: str) -> list[Any]:
    return MarkdownIt("commonmark").enable("table").parse(text)


@pytest.mark.parametrize(
    "text", ["plain", HOSTILE, f"```\n{HOSTILE}\n```", "`````\n<script>\n`````", "~~~\n<b>\n~~~", ""]
)
def test_a_text_in_a_fence_is_one_block_of_code(text: str) -> None:
    (block,) = tokens(fenced(text))
    assert block.type == "fence"
    assert block.content == text.replace("\x1b", "\\x1b") + "\n"


@pytest.mark.parametrize("text", ["plain", HOSTILE, "two\nlines | and more"])
def test_a_text_in_a_cell_is_one_cell_of_text(text: str) -> None:
    table = tokens(f"| name | outcome |\n|---|---|\n| {cell(text)} | ran |")
    inline = [token for token in table if token.type == "inline"][2:]
    assert [one.content for one in inline][1] == "ran"
    assert {child.type for child in inline[0].children} == {"text"}
    shown = "".join(child.content for child in inline[0].children)
    assert shown == " ".join(text.replace("\x1b", "\\x1b").split())
