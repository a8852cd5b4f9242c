"""Some train rows as a page: each token with what becomes of it in training.

Every text of a row is escaped, and the page may ask for nothing, so that no row can do anything in it.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Iterator, Sequence

from stages.common.plurals import counted
from stages.common.results.split import Example
from stages.common.results.tokenize import Encoded
from stages.params.tokenize import Tokenize
from stages.tokenize.encoding import Encoder, encode
from stages.tokenize.labels import Part, parts, token_text
from stages.tokenize.prompt import PromptStyle

#: Rows of the page, the first rows among which they are looked for, and tokens of one part of a row that are shown.
ROWS = 3
LOOKED_AT = 1000
_TOKENS = 300

_STYLE = """
:root { color-scheme: light dark; --text: #1d2330; --dim: #5a6374; --back: #ffffff; --line: #d9dde5;
  --masked: #e8eaef; --trained: #cdebd3; --cut: #f6d5d2; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e7ee; --dim: #a0a8b8; --back: #15181f; --line: #383f4d;
  --masked: #2a303c; --trained: #1f4a2c; --cut: #5a2622; } }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem; color: var(--text); background: var(--back);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; overflow-wrap: anywhere; }
p.tokens { font: .85rem/2 ui-monospace, monospace; overflow-wrap: anywhere; }
span { border-radius: .2rem; padding: .1rem .15rem; margin-right: 1px; white-space: pre-wrap; }
.masked { background: var(--masked); color: var(--dim); } .trained { background: var(--trained); }
.cut { background: var(--cut); text-decoration: line-through; } .dim { color: var(--dim); }
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
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Tokens and labels</title><style>{_STYLE}</style></head>",
            "<body><h1>Tokens and labels</h1>",
            f'<p class="dim">Prompt style {settings.prompt_style}, loss over {settings.loss_on}, '
            f"context of {settings.context_length:,} tokens. "
            "Any row: <code>python -m stages.tokenize --show ROW</code>.</p>",
            *(f'<p><span class="{part}">{part}</span> {said}</p>' for part, said in _LEGEND.items()),
            *itertools.chain.from_iterable(_row(row, tokenizer, settings) for row in rows),
            "</body></html>",
            "",
        ]
    )


def _row(row: Encoded, tokenizer: Encoder, settings: Tokenize) -> Iterator[str]:
    of_row = parts(row, settings.loss_on, settings.context_length)
    counts = ", ".join(f"{len(ids):,} {part}" for part, ids in of_row.items() if ids)
    yield f"<h2>{html.escape(row.id)}</h2>"
    yield f'<p class="dim">{counted(len(row.ids), "token")}: {counts}</p>'
    yield f'<p class="tokens">{"".join(_part(part, ids, tokenizer) for part, ids in of_row.items())}</p>'


def _part(part: Part, ids: Sequence[int], tokenizer: Encoder) -> str:
    shown = (f'<span class="{part}">{html.escape(token_text(one, tokenizer))}</span>' for one in ids[:_TOKENS])
    more = f'<span class="dim">… and {len(ids) - _TOKENS:,} more</span>' if len(ids) > _TOKENS else ""
    return "".join(shown) + more
