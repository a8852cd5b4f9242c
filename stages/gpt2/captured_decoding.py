"""Decoding steps that a GPU captures and replays, see `stages.gpt2.graphs`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.gpt2 import runtime
from stages.gpt2.graphs import GraphRunner, Replayer
from stages.gpt2.inference import Network, StepPass
from stages.gpt2.kv_cache import KVCache


class CapturedDecoding:
    """Puts one more token into every row of a cache, as `stages.gpt2.decoding.decode_one` does, by CUDA graphs.

    A graph is for a number of rows, a power of two, and for the positions that the cache has. It is padded with token 0
    at position 0. What the padding computes stays in KV-cache slots that no row uses.

    Args:
        network: the model's weights.
        cache: cache that holds every earlier position of every row.
        runner: runner of the device.
    """

    def __init__(self, network: Network, cache: KVCache, runner: GraphRunner) -> None:
        self._network = network
        self._cache = cache
        self._replayer = Replayer(runner, "decoding steps")
        self._given = torch.zeros(2, cache.slots, dtype=torch.int64, device=network.wte.device)
        # Shared by all graphs, but outside their memory: that is overwritten by the next one before this is read.
        self._logits = torch.empty(cache.slots, len(network.wte), dtype=network.wte.dtype, device=network.wte.device)

    @torch.inference_mode()
    def __call__(self, tokens: Sequence[int], positions: Sequence[int]) -> Tensor:
        """Take B ids and their positions; return [B, V] logits of the token after each.

        The next step overwrites them.
        """
        self._cache.fit(max(positions) + 1)
        rows = min(1 << (len(tokens) - 1).bit_length(), self._cache.slots)
        padding = [0] * (rows - len(tokens))
        runtime.put(self._given[:, :rows], torch.tensor([[*tokens, *padding], [*positions, *padding]]))
        kind = (rows, self._cache.span)
        self._replayer.run(kind, lambda: self._step(*kind))
        return self._logits[: len(tokens)]

    def _step(self, rows: int, span: int) -> None:
        ids, positions = self._given[:, :rows]
        attend = StepPass(self._cache, positions, span)
        self._logits[:rows].copy_(self._network.head(self._network.hidden(ids, positions, attend)))
