"""Ollama's Modelfile for a GGUF file (https://docs.ollama.com/modelfile): prompt style, stop and lengths."""

from __future__ import annotations

from stages.common.errors import ConfigError
from stages.prompts.prompt import PromptStyle

_END = "<|endoftext|>"


def text(file: str, style: PromptStyle, *, context: int, max_new_tokens: int) -> str:
    """The Modelfile of an export.

    The template is that of a prompt without an input: an instruction with one goes into a single message
    (`stages.tokenize.chat_template.content_of`). Each message is rendered by itself, as in the chat template.

    Args:
        file: path of the GGUF file, relative to the Modelfile's folder.
        style: the prompt style.
        context: the longest sequence of the model, in tokens.
        max_new_tokens: the longest answer, in tokens.

    Raises:
        ConfigError: the prompt style holds what a Modelfile cannot.
    """
    start, end = style.without_input.split("{instruction}")
    if unfit := [one for one in ('"""', "{{", "}}") if one in start + end]:
        what = f"the prompt style {style.name}: a Modelfile cannot hold {unfit[0]}"
        raise ConfigError(what, "leave ollama out of --to")
    user = f"{start}{{{{ .Content }}}}{end}"
    template = (
        f'{{{{ range .Messages }}}}{{{{ if eq .Role "user" }}}}{user}'
        f'{{{{ else if eq .Role "assistant" }}}}{{{{ .Content }}}}{_END}{{{{ end }}}}{{{{ end }}}}'
    )
    return (
        f'FROM {file}\nTEMPLATE """{template}"""\n'
        f'PARAMETER stop "{_END}"\nPARAMETER temperature 0\nPARAMETER repeat_penalty 1\n'
        f"PARAMETER num_ctx {context}\nPARAMETER num_predict {max_new_tokens}\n"
    )
