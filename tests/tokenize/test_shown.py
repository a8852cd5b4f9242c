"""The page of some rows with their labels."""

from __future__ import annotations

import pytest

from stages.common.results.split import Example
from stages.gpt2.tokenizer import END_OF_TEXT
from stages.params.tokenize import Tokenize
from stages.prompts.prompt import PromptStyle
from stages.tokenize import shown
from stages.tokenize.labels import parts, token_text
from tests.prompts.test_encoding import Bytes

STYLE = PromptStyle(name="t", with_input="{instruction}{input}>", without_input="{instruction}>")
SETTINGS = Tokenize.model_validate({"prompt_style": "alpaca", "context_length": 8, "loss_on": "response"})


class Tokens(Bytes):
    def decode(self, ids) -> str:
        return "<|endoftext|>" if list(ids) == [END_OF_TEXT] else super().decode(ids)


def row(id: str, input: str = "", output: str = "o") -> Example:
    return Example(id=id, instruction="i", input=input, output=output, category="c")


def names(rows: list[Example]) -> list[str]:
    return [found.id for found in shown.chosen(rows, Tokens(), STYLE, 8)]


def test_the_rows_are_of_different_kinds_where_there_are_some() -> None:
    plain, given, long = row("plain"), row("given", "x"), row("long", output="much too long")
    assert names([long, plain, row("other"), given]) == ["plain", "given", "long"]
    assert names([plain, row("other"), row("third"), row("fourth")]) == ["plain", "other", "third"]
    assert names([plain]) == ["plain"]
    assert names([*[plain] * shown.LOOKED_AT, long]) == ["plain"] * 3


def test_a_page_shows_every_token_with_what_becomes_of_it_and_runs_nothing() -> None:
    found = shown.chosen([row("<b>", output="<script>\n")], Tokens(), STYLE, 8)
    page = shown.page(found, Tokens(), SETTINGS)

    assert page == shown.page(found, Tokens(), SETTINGS)
    assert "default-src 'none'; style-src 'sha256-" in page
    assert "base-uri 'none'; form-action 'none'" in page
    assert "unsafe-inline" not in page
    assert '<h3 class="row">&lt;b&gt;</h3>' in page
    assert '<p class="dim">12 tokens: 2 masked, 6 trained, 4 cut</p>' in page
    tokens = page.partition('<p class="tokens">')[2].partition("</p>")[0]
    assert tokens.startswith(
        '<span class="part masked">i</span><span class="part masked">&gt;</span><span class="part trained">&lt;'
    )
    assert tokens.endswith('<span class="part cut">\\n</span><span class="part cut">&lt;|endoftext|&gt;</span>')
    assert "<script" not in page


def test_a_row_of_thousands_of_tokens_is_shortened() -> None:
    settings = SETTINGS.model_copy(update={"context_length": 9000})
    page = shown.page(shown.chosen([row("a", output="x" * 5000)], Tokens(), STYLE, 9000), Tokens(), settings)
    assert "… and 4,701 more" in page
    assert len(page) < 30_000


@pytest.mark.parametrize(
    ("loss_on", "length", "expected"), [("response", 9, (2, 2, 0)), ("all", 3, (1, 2, 1)), ("all", 2, (0, 0, 4))]
)
def test_the_parts_of_a_row(loss_on, length, expected) -> None:
    (found,) = shown.chosen([row("a")], Tokens(), STYLE, 99)
    assert tuple(len(ids) for ids in parts(found, loss_on, length).values()) == expected
    assert token_text(0xC3, Tokens()) == "<195>"
