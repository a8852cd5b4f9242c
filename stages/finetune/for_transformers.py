"""What a model folder holds beside the weights, so that `transformers` and vLLM use the model as it was trained."""

from __future__ import annotations

from pathlib import Path

from stages.common.files import write_json
from stages.gpt2.tokenizer import END_OF_TEXT, Tokenizer
from stages.prompts import prompt
from stages.prompts.prompt import PromptStyle
from stages.tokenize.chat_template import chat_template

GENERATION_CONFIG = "generation_config.json"


def write(tokenizer: Tokenizer, style: PromptStyle, folder: Path, *, context: int) -> None:
    """Write tokenizer, chat template, generation config and prompt style into an existing folder.

    By the generation config an answer is greedy, and ends at an end-of-text or where the model's context is full.
    Without a length `transformers` ends it after 20 tokens, those of the prompt included.

    Args:
        tokenizer: the model's tokenizer.
        style: its prompt style.
        folder: the folder.
        context: the longest sequence of the model, in tokens.
    """
    tokenizer.save_for_transformers(folder, context=context, chat_template=chat_template(style))
    ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), END_OF_TEXT)
    write_json(folder / GENERATION_CONFIG, {**ends, "do_sample": False, "max_length": context})
    prompt.save_style(style, folder)
