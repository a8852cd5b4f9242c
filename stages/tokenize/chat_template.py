"""A prompt style as a chat template, the Jinja that `transformers`, vLLM and llama.cpp keep with a tokenizer.

    tokenizer.apply_chat_template([{"role": "user", "content": "Name a colour."}])

gives the ids of the prompt of that instruction. The input of a row is ``input`` of the same message, for what passes
unknown keys on (transformers does); or it is in ``content``, as `content_of` puts it there, for any chat client.

The models are trained on single instructions. Of a conversation each message is rendered by itself, an answer with the
end-of-text behind it, as rows follow one another in training. There is no place for a system message: it is refused.
"""

from __future__ import annotations

import json

from stages.prompts.prompt import PromptStyle

#: What a template answers to a message of another role.
REFUSAL = "this model takes messages of the roles user and assistant alone"


def chat_template(style: PromptStyle) -> str:
    """The template of a style, for Jinja with the settings of `transformers` (trim_blocks, lstrip_blocks).

    All text stands in string literals, which no setting for white space changes. A generation prompt needs no asking
    for: the end of the user's message is where the answer begins.
    """
    before, between, after = _around_both(style)
    start, end = style.without_input.split("{instruction}")
    both = f"{_literal(before)} + message['content'] + {_literal(between)} + message['input'] + {_literal(after)}"
    alone = f"{_literal(start)} + message['content'] + {_literal(end)}"
    return (
        "{%- for message in messages -%}"
        "{%- if message['role'] == 'user' and message['input'] -%}{{ " + both + " }}"
        "{%- elif message['role'] == 'user' -%}{{ " + alone + " }}"
        "{%- elif message['role'] == 'assistant' -%}{{ message['content'] + eos_token }}"
        "{%- else -%}{{ raise_exception(" + _literal(REFUSAL) + ") }}"
        "{%- endif -%}{%- endfor -%}"
    )


def content_of(style: PromptStyle, instruction: str, input: str) -> str | None:
    """The text of one message that gives the prompt of a row with the part of the template without an input.

    For the style phi3 it is the instruction, a line feed and the input.

    Returns:
        The text; None where the style's two templates differ in more than what is between instruction and input.
    """
    if not input:
        return instruction
    before, between, after = _around_both(style)
    if (before, after) != tuple(style.without_input.split("{instruction}")):
        return None
    return instruction + between + input


def _around_both(style: PromptStyle) -> tuple[str, str, str]:
    """What is before the instruction, between it and the input, and behind the input."""
    before, rest = style.with_input.split("{instruction}")
    between, after = rest.split("{input}")
    return before, between, after


def _literal(text: str) -> str:
    """A text as a string literal of Jinja, which reads the escapes of JSON as JSON does."""
    return json.dumps(text, ensure_ascii=False)
