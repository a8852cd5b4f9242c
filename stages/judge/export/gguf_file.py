"""A GPT-2 as a GGUF file, which llama.cpp and Ollama read.

Names, order of dimensions and keys are those of llama.cpp's converter (`GPT2Model` in convert_hf_to_gguf.py). The
output head is the table of tokens, and is not stored twice.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from stages.common.files import read_json
from stages.gpt2 import weights
from stages.gpt2.tokenizer import END_OF_TEXT
from stages.judge.export import quantised
from stages.judge.export.optional import need

#: Our names of modules, which are those of transformers, and GGUF's.
_NAMES = {
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
_IN_LAYER = re.compile(r"h\.(\d+)\.(.+)")


def name_of(parameter: str) -> str:
    """GGUF's name of a parameter.

    >>> name_of("h.3.attn.c_attn.bias")
    'blk.3.attn_qkv.bias'
    """
    module, _, kind = parameter.rpartition(".")
    if found := _IN_LAYER.fullmatch(module):
        return f"blk.{found[1]}.{_NAMES[found[2]]}.{kind}"
    return f"{_NAMES[module]}.{kind}"


def write(model: Path, target: Path, quantisation: str, *, name: str) -> None:
    """Write a model folder as one GGUF file.

    Args:
        model: folder with weights, config, tokenizer and chat template, as the stage finetune writes it.
        target: path of the file; its folder exists.
        quantisation: a key of `quantised.FILE_TYPES`.
        name: name of the model in the file.

    Raises:
        ConfigError: a package of the extra is not installed.
        DataError: the folder's weights or its tokenizer are not what they should be.
    """
    gguf = need("gguf", "an export to GGUF")
    made_by = "dvc repro --force finetune"
    config = weights.read_config(model / weights.CONFIG, made_by=made_by)
    writer = gguf.GGUFWriter(target, "gpt2")
    writer.add_name(name)
    writer.add_block_count(config.n_layer)
    writer.add_context_length(config.n_positions)
    writer.add_embedding_length(config.n_embd)
    writer.add_feed_forward_length(4 * config.n_embd)
    writer.add_head_count(config.n_head)
    writer.add_layer_norm_eps(1e-5)
    writer.add_file_type(quantised.FILE_TYPES[quantisation])
    _add_tokenizer(writer, gguf, model, made_by)
    for parameter, tensor in weights.load(model, made_by=made_by).named_parameters():
        values = tensor.detach().numpy()
        if parameter.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            values = np.ascontiguousarray(values.T)  # stored [in, out]; GGUF has a row for each output
        named = name_of(parameter)
        kind = quantised.type_of(named, values.shape, config.n_layer, quantisation)
        packed = quantised.packed(values, kind)
        writer.add_tensor(named, packed, raw_dtype=getattr(gguf.GGMLQuantizationType, kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: Any, gguf: Any, model: Path, made_by: str) -> None:
    """Add GPT-2's tokens and merges, and the chat template."""
    vocabulary = read_json(model / "vocab.json", made_by=made_by)
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    types = [gguf.TokenType.NORMAL] * len(tokens)
    types[END_OF_TEXT] = gguf.TokenType.CONTROL
    merges = (model / "merges.txt").read_text(encoding="utf-8").splitlines()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([line for line in merges if line and not line.startswith("#version")])
    writer.add_bos_token_id(END_OF_TEXT)
    writer.add_eos_token_id(END_OF_TEXT)
    writer.add_add_bos_token(False)
    writer.add_chat_template(read_json(model / "tokenizer_config.json", made_by=made_by)["chat_template"])
