"""generate: an answer to every test prompt, by each model that params.yaml names.

Reads artifacts/tokenize/test.jsonl (the ids of the prompts, and how many the references have), the references in
artifacts/split/test.jsonl and the models. Writes artifacts/generate/responses.jsonl, the models in turn and each one's
answers in the order of the test rows, and metrics.json.
"""

from __future__ import annotations

from stages.params.generate import Generate
from stages.running import gpu, program


def main() -> None:
    """Run the stage, on a GPU of its own where there is one."""
    settings = program.section(Generate)
    with gpu.lease():
        # torch looks for GPUs when it is imported, so that the lease comes first.
        from stages.generate import job

        job.generate(settings)


if __name__ == "__main__":
    program.run("generate", main)
