"""A GGUF file, loaded and asked with llama.cpp: its weights, its tokenizer and its chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.common.errors import DataError
from stages.judge.export.answers import Found
from stages.judge.export.optional import need, version
from stages.judge.export.taken import Row


class LlamaCpp:
    """A GGUF file in llama.cpp's server, in this process, on the CPU. Keys and values are kept in fp32.

    Args:
        file: the file.
        context: the longest sequence of the model, in tokens.

    Raises:
        ConfigError: xllamacpp is not installed.
        DataError: llama.cpp does not load the file.
    """

    how = "llama.cpp"

    def __init__(self, file: Path, context: int) -> None:
        library: Any = need("xllamacpp", "a comparison of an export to gguf")
        params = library.CommonParams()
        params.model.path = str(file)
        params.n_ctx = context
        params.n_parallel = 1
        params.n_gpu_layers = 0
        params.warmup = False
        params.use_jinja = True
        params.cache_prompt = False
        params.verbosity = 0
        params.hostnames = ["127.0.0.1"]
        # llama.cpp keeps keys and values in fp16 by default, which changes answers.
        params.cache_type_k = params.cache_type_v = library.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = library.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        try:
            self._server = library.Server(params)
        except Exception as error:
            what = f"{file}: llama.cpp does not load it: {error}"
            raise DataError(what, "python -m flows.export writes it again") from error
        self.how = f"llama.cpp ({version('xllamacpp')}), chat template of the file, keys and values in fp32"

    def answer(self, row: Row) -> Found:
        """Answer a row's message by the file's chat template, or its prompt where one message cannot hold the row.

        Of the prompt llama.cpp tells the number of tokens.
        """
        asked = {"max_tokens": row.most, "temperature": 0, "cache_prompt": False}
        if row.content is None:
            reply = self._server.handle_completions({"prompt": row.prompt, **asked})
            text = reply["choices"][0]["text"]
        else:
            messages = [{"role": "user", "content": row.content}]
            reply = self._server.handle_chat_completions({"messages": messages, **asked})
            text = reply["choices"][0]["message"]["content"]
        return Found(
            text=text.strip(),
            tokens=reply["usage"]["completion_tokens"],
            ended=reply["choices"][0]["finish_reason"] == "stop",
            same_prompt=reply["usage"]["prompt_tokens"] == len(row.ids),
        )
