"""Texts that are texts and no use to a model: words for "nothing", a prompt's own markers, control characters."""

from __future__ import annotations

import re

#: Inputs and outputs that stand for "nothing" (tatsu-lab/stanford_alpaca, alpaca_data.json), in small letters.
PLACEHOLDERS = frozenset(
    {"<noinput>", "<no input>", "<nooutput>", "<no output>", "no input", "no output", "n/a", "nan"}
)
#: The headings of an answer in the prompt styles in stages/prompts/styles.py, which a test compares.
ANSWER_HEADINGS = ("### Response:", "<|assistant|>")
#: What the prompt styles write around texts, and the tokens of chats. Within a text they make a second prompt.
MARKERS = (
    *("### Instruction:", "### Input:", *ANSWER_HEADINGS),
    *("<|user|>", "<|system|>", "<|end|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"),
)
#: Longest text in characters. GPT-2 reads 1,024 tokens, some 4,000 characters of English.
LONGEST = 1_000_000

_MARKER = re.compile("|".join(map(re.escape, MARKERS)))
#: C0 without tab, line feed and carriage return; DEL; C1 (ECMA-48).
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def is_placeholder(text: str) -> bool:
    """Whether a text stands for "nothing" in a word of its own."""
    return text.strip().lower() in PLACEHOLDERS


def mistake(text: str, *, may_be_placeholder: bool = False) -> str | None:
    r"""What makes a text useless for training; None if nothing does.

    Args:
        text: an instruction, an input or an output.
        may_be_placeholder: whether a word for "nothing" is fine, as in an instruction.

    >>> mistake("a\x00b")
    "expected no control characters; found '\\x00' at character 1"
    """
    if len(text) > LONGEST:
        return f"expected at most {LONGEST:,} characters; found {len(text):,}"
    if found := _CONTROL.search(text):
        return f"expected no control characters; found {found[0]!r} at character {found.start()}"
    if ("##" in text or "<|" in text) and (found := _MARKER.search(text)):  # cheaper to rule out
        return f"expected no markers of a prompt; found {found[0]!r} at character {found.start()}"
    if not may_be_placeholder and is_placeholder(text):
        return f"expected a text; found the placeholder {text.strip()!r}"
    return None
