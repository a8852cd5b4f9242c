"""generate: an answer to every test prompt, by each model that params.yaml names.

Reads the token ids of prompts and references in artifacts/tokenize/test.arrow, the texts of the references in
artifacts/split/test.jsonl, and the models. Writes artifacts/generate/responses.jsonl, the models in turn and each one's
answers in the order of the test rows, and metrics.json.
"""

from __future__ import annotations

from stages.params.generate import Generate
from stages.running import gpu, loading, program


def main() -> None:
    """Run the stage, with the lease of a GPU where there is one."""
    settings = program.section(Generate)
    with gpu.lease():
        # torch looks for GPUs when it is imported, so the lease must come first.
        with loading.without_collector():
            from stages.generate import job

        job.generate(settings)


if __name__ == "__main__":
    program.run("generate", main)
