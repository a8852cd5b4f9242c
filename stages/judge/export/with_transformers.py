"""An exported folder, loaded and asked with transformers: its weights, its tokenizer and its chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.judge.export.answers import Found
from stages.judge.export.optional import need, version
from stages.judge.export.taken import Row


class Transformers:
    """A model folder behind `AutoTokenizer` and `AutoModelForCausalLM`.

    Args:
        folder: the folder.

    Raises:
        ConfigError: transformers is not installed.
    """

    how = "transformers"

    def __init__(self, folder: Path) -> None:
        transformers: Any = need("transformers", "a comparison of an export to hf")
        transformers.utils.logging.disable_progress_bar()
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
        self.how = f"{version('transformers')}, apply_chat_template and generate, fp32"

    def answer(self, row: Row) -> Found:
        """Answer a row's message by the chat template; ids of prompts are compared one by one."""
        prompt = self._tokenizer.apply_chat_template([dict(row.message)], return_tensors="pt", return_dict=True)
        ids = prompt["input_ids"]
        made = self._model.generate(**prompt, max_length=ids.shape[1] + row.most)[0, ids.shape[1] :].tolist()
        ended = bool(made) and made[-1] == self._tokenizer.eos_token_id
        same = ids[0].tolist() == list(row.ids)
        if row.content is not None:
            joined = [{"role": "user", "content": row.content}]
            same = same and self._tokenizer.apply_chat_template(joined, return_dict=False) == list(row.ids)
        text = self._tokenizer.decode(made, skip_special_tokens=True).strip()
        return Found(text=text, tokens=len(made), ended=ended, same_prompt=same)
