"""The prompt styles that params.yaml can name.

They are apart from `prompt`, on which the training depends: a new style retrains nothing.
"""

from __future__ import annotations

from stages.prompts.prompt import PromptStyle

_ALPACA_PREAMBLE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)

STYLES = {
    style.name: style
    for style in (
        # The book's version of Stanford Alpaca's template (chapter 7.2): one preamble, with and without an input.
        PromptStyle(
            name="alpaca",
            with_input=f"{_ALPACA_PREAMBLE}\n\n### Instruction:\n{{instruction}}"
            "\n\n### Input:\n{input}\n\n### Response:\n",
            without_input=f"{_ALPACA_PREAMBLE}\n\n### Instruction:\n{{instruction}}\n\n### Response:\n",
        ),
        # The book's version of Phi-3's template (exercise 7.1).
        PromptStyle(
            name="phi3",
            with_input="<|user|>\n{instruction}\n{input}\n<|assistant|>:\n",
            without_input="<|user|>\n{instruction}\n<|assistant|>:\n",
        ),
    )
}
