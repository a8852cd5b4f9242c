"""finetune: the downloaded GPT-2, trained on the train rows and validated on the val rows.

Reads artifacts/tokenize/{train,val}.arrow and artifacts/download/. Writes under artifacts/finetune/: model/ (what
`transformers` loads, with the tokenizer and the prompt style; with LoRA the adapter too), history.jsonl (a line a
step), metrics.json, and loss.csv (for `dvc plots`).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from stages.params.finetune import Finetune
from stages.running import environment, gpu, loading, program


def main() -> None:
    """Run the stage, on GPUs of its own where there are some."""
    recipe = program.section(Finetune)
    # The processes of a run on several GPUs use what the one that started them has leased.
    lease: AbstractContextManager[tuple[str, ...]]
    lease = nullcontext(()) if environment.worker() else gpu.lease(recipe.devices)
    with lease as gpus:
        # torch looks for GPUs when it is imported, so that the lease comes first.
        with loading.without_collector():
            from stages.finetune import job

        job.run(recipe, len(gpus))


if __name__ == "__main__":
    program.run("finetune", main)
