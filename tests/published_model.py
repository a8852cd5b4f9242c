"""A model folder as OpenAI's GPT-2 has on the hub, with random weights.

    python -m tests.published_model --size gpt2-medium --folder DIR

Published files name tensors without ``transformer.`` and carry each layer's causal mask as a tensor.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from stages.common.files import write_json
from stages.gpt2 import weights
from stages.gpt2.model import GPT2Config

#: The published sizes (Radford et al. 2019, table 2).
SIZES = {
    "gpt2": GPT2Config(n_layer=12, n_head=12, n_embd=768, n_positions=1024),
    "gpt2-medium": GPT2Config(n_layer=24, n_head=16, n_embd=1024, n_positions=1024),
    "gpt2-large": GPT2Config(n_layer=36, n_head=20, n_embd=1280, n_positions=1024),
    "gpt2-xl": GPT2Config(n_layer=48, n_head=25, n_embd=1600, n_positions=1024),
}


def write(config: GPT2Config, folder: Path) -> None:
    """Write model.safetensors and config.json as published."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = dict(weights.initialise(config, seed=0).state_dict())
    mask = torch.ones(config.n_positions, config.n_positions).tril()[None, None]
    for layer in range(config.n_layer):
        tensors[f"h.{layer}.attn.bias"] = mask.clone()
    save_file(tensors, folder / weights.WEIGHTS, metadata={"format": "pt"})
    write_json(folder / weights.CONFIG, weights.config_json(config) | {"task_specific_params": {}})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    write(SIZES[arguments.size], arguments.folder)
