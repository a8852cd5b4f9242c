"""Steps of generation that a GPU is asked for in one call, see `stages.gpt2.graphs`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.gpt2 import runtime
from stages.gpt2.graphs import Recorder, Repeater
from stages.gpt2.inference import KVCache, Network, StepPass


class RecordedDecoding:
    """Puts one more token into every row of a cache, as `stages.gpt2.decoding.decode_one` does, from recordings.

    A recording is for a number of rows, a power of two, and for the positions that the cache has. Rows in it that are
    not in use have token 0 at position 0; what they compute nobody sees, and it stays in places that are not in use.

    Args:
        network: the model's.
        cache: holds every earlier position of every row.
        recorder: of the device.
    """

    def __init__(self, network: Network, cache: KVCache, recorder: Recorder) -> None:
        self._network = network
        self._cache = cache
        self._repeater = Repeater(recorder, "steps of generation")
        self._given = torch.zeros(2, cache.places, dtype=torch.int64, device=network.wte.device)
        # One for all recordings: the memory that these share cannot hold what is read after them.
        self._logits = torch.empty(cache.places, len(network.wte), dtype=network.wte.dtype, device=network.wte.device)

    @torch.inference_mode()
    def __call__(self, tokens: Sequence[int], positions: Sequence[int]) -> Tensor:
        """Take B ids and where each stands in its own row; returns [B, V] logits of the token after it.

        They are overwritten by the next step.
        """
        self._cache.fit(max(positions) + 1)
        rows = min(1 << (len(tokens) - 1).bit_length(), self._cache.places)
        unused = [0] * (rows - len(tokens))
        runtime.put(self._given[:, :rows], torch.tensor([[*tokens, *unused], [*positions, *unused]]))
        kind = (rows, self._cache.span)
        self._repeater.do(kind, lambda: self._step(*kind))
        return self._logits[: len(tokens)]

    def _step(self, rows: int, span: int) -> None:
        ids, positions = self._given[:, :rows]
        attend = StepPass(self._cache, positions, span)
        self._logits[:rows].copy_(self._network.head(self._network.hidden(ids, positions, attend)))
