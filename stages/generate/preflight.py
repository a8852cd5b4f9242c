"""What generation takes, as far as it is known before a run (`stages.running.checks.asking`)."""

from __future__ import annotations

from collections.abc import Iterator

from stages.common.plurals import counted
from stages.finetune.costs.weights import Weights
from stages.generate.kv_memory import cache_bytes
from stages.gpt2.tokenizer import VOCABULARY_SIZE
from stages.params.whole import Params
from stages.running import devices, machine
from stages.running.checks.row import Row, ok, warning
from stages.running.console import size


def rows(params: Params) -> Iterator[Row]:
    """The memory of the model and of the keys and values of a batch, at most. Its time is told as answers come."""
    settings, sizes = params.generate, params.download.model
    weights = Weights.of(sizes, params.finetune.model_copy(update={"lora": None}), vocab_size=VOCABULARY_SIZE)
    cache = cache_bytes(sizes, settings, settings.batch_size, params.tokenize.context_length)
    rows_at_a_time = f"{counted(settings.batch_size, 'row')} at a time"
    alone = bool(devices.visible_devices()) or settings.batch_size == 1
    # On a CPU the output head of several rows may be prepacked (`stages.gpt2.prepacked`), beside the tokens' table.
    head = 0 if alone else 4 * sizes.n_embd * VOCABULARY_SIZE
    model = 4 * weights.all + head
    told = f"the model takes up to {size(model)}, and keys and values of {rows_at_a_time} up to {size(cache)}"
    if not devices.visible_devices() and model + cache > (free := machine.free_memory()):
        fix = "lower generate.batch_size in params.yaml, or end what else takes memory"
        yield warning("generate memory", f"{told}; {size(free)} are free", fix)
    else:
        yield ok("generate memory", f"{told}; how long answers take is told as they come")
