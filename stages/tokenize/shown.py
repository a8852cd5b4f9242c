"""Some train rows as a page: each token with what becomes of it in training.

Every text of a row is escaped, and the page may ask for nothing, so that no row can do anything in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from stages.common.html_page import Html, document, element, joined
from stages.common.plurals import counted
from stages.common.results.split import Example
from stages.common.results.tokenize import Encoded
from stages.params.tokenize import Tokenize
from stages.prompts.encoding import Encoder, encode
from stages.prompts.prompt import PromptStyle
from stages.tokenize.labels import Part, parts, token_text

#: Rows of the page, the first rows among which they are looked for, and tokens of one part of a row that are shown.
ROWS = 3
LOOKED_AT = 1000
_TOKENS = 300

#: CSS of `explained`, besides that of all pages.
STYLE = """
:root { --masked: #e8eaef; --trained: #cdebd3; --cut: #f6d5d2; }
@media (prefers-color-scheme: dark) { :root { --masked: #2a303c; --trained: #1f4a2c; --cut: #5a2622; } }
.row { font-size: 1.1rem; overflow-wrap: anywhere; }
.tokens { font: .85rem/2 ui-monospace, monospace; overflow-wrap: anywhere; max-width: none; }
.part { border-radius: .2rem; padding: .1rem .15rem; margin-right: 1px; white-space: pre-wrap; }
.masked { background: var(--masked); color: var(--dim); } .trained { background: var(--trained); }
.cut { background: var(--cut); text-decoration: line-through; }
"""
_LEGEND: dict[Part, str] = {
    "masked": "the model reads it, and the loss leaves it out",
    "trained": "the loss is over it",
    "cut": "beyond tokenize.context_length, so that no model sees it",
}


def chosen(examples: Iterable[Example], tokenizer: Encoder, style: PromptStyle, context_length: int) -> list[Encoded]:
    """The rows that are shown: the first without an input, the first with one, and the first that is cut.

    Args:
        examples: the train rows, of which the first `LOOKED_AT` are looked at.
        tokenizer: what encodes them.
        style: the prompt style.
        context_length: length of the context in tokens.

    Returns:
        Up to `ROWS` rows, not cut; others of the first rows in the place of a kind that is not there.
    """
    kinds: dict[str, Encoded] = {}
    others: list[Encoded] = []
    for example in itertools.islice(examples, LOOKED_AT):
        row = encode(example, style, tokenizer)
        kind = "cut" if len(row.ids) > context_length else "with" if example.input else "without"
        if kinds.setdefault(kind, row) is not row:
            others.append(row)
        if len(kinds) == ROWS:
            break
    found = [kinds[kind] for kind in ("without", "with", "cut") if kind in kinds]
    return [*found, *others][:ROWS]


def page(rows: Sequence[Encoded], tokenizer: Encoder, settings: Tokenize) -> str:
    """The page of some rows.

    Args:
        rows: the rows, not cut.
        tokenizer: what decodes their ids.
        settings: the section tokenize.
    """
    return document(
        "Tokens and labels", [element("h1", "Tokens and labels"), *explained(rows, tokenizer, settings)], style=STYLE
    )


def explained(rows: Sequence[Encoded], tokenizer: Encoder, settings: Tokenize) -> Iterator[Html]:
    """What the loss of some rows is over, as elements of a page that has `STYLE`.

    Args:
        rows: the rows, not cut.
        tokenizer: what decodes their ids.
        settings: the section tokenize.
    """
    yield element(
        "p",
        f"Prompt style {settings.prompt_style}, loss over {settings.loss_on}, context of "
        f"{settings.context_length:,} tokens. Any row: ",
        element("code", "python -m stages.tokenize --show ROW"),
        ".",
        class_="dim",
    )
    for part, said in _LEGEND.items():
        yield element("p", element("span", part, class_=f"part {part}"), f" {said}")
    for row in rows:
        yield from _row(row, tokenizer, settings)


def _row(row: Encoded, tokenizer: Encoder, settings: Tokenize) -> Iterator[Html]:
    of_row = parts(row, settings.loss_on, settings.context_length)
    counts = ", ".join(f"{len(ids):,} {part}" for part, ids in of_row.items() if ids)
    yield element("h3", row.id, class_="row")
    yield element("p", f"{counted(len(row.ids), 'token')}: {counts}", class_="dim")
    tokens = joined(_part(part, ids, tokenizer) for part, ids in of_row.items())
    yield element("p", tokens, class_="tokens")


def _part(part: Part, ids: Sequence[int], tokenizer: Encoder) -> Html:
    shown = joined(element("span", token_text(one, tokenizer), class_=f"part {part}") for one in ids[:_TOKENS])
    more = element("span", f"… and {len(ids) - _TOKENS:,} more", class_="part dim") if len(ids) > _TOKENS else Html("")
    return joined([shown, more])
