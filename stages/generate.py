"""generate: an answer to every test prompt, by each model that params.yaml names.

Reads artifacts/tokenize/test.jsonl (the prompt part alone) and the models; writes artifacts/generate/responses.jsonl,
the models in turn and each one's answers in the order of the test rows, and metrics.json.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from stages.common import gpu, params, paths, program
from stages.common.console import progress, say
from stages.common.errors import DataError
from stages.common.files import write_json
from stages.common.params import Generate
from stages.common.records import Encoded, ModelName, Response, read_records, write_records

#: Each model's folder, and the command that makes it.
MODELS = {
    "base": (paths.BASE_MODEL, "dvc repro --force download"),
    "tuned": (paths.TUNED_MODEL, "dvc repro --force finetune"),
}


def main() -> None:
    """Run the stage, on a GPU of its own where there is one."""
    settings = params.load().generate
    rows = list(read_records(paths.tokens_file("test"), Encoded, made_by="dvc repro tokenize"))
    if not rows:
        raise DataError(f"{paths.tokens_file('test')}: no rows to answer", "raise split.test in params.yaml")
    responses: list[Response] = []
    with gpu.lease():
        for name in settings.models:
            responses += answer(name, rows, settings)
    write_records(paths.RESPONSES, responses)
    write_json(paths.GENERATE_METRICS, {name: measure(responses, name) for name in settings.models})
    say(f"the answers: {paths.RESPONSES}")


def answer(name: ModelName, rows: list[Encoded], settings: Generate) -> list[Response]:
    """One model's answers to all rows, in their order."""
    from stages.gpt2 import decoding, runtime, weights
    from stages.gpt2.tokenizer import END_OF_TEXT, Tokenizer
    from stages.sft.encoding import answer_text

    folder, made_by = MODELS[name]
    device = runtime.prepare()
    tokenizer = Tokenizer(paths.TOKENIZER)
    dtype = runtime.dtype_for(settings.precision, device)
    model = weights.load(folder, made_by=made_by, dtype=dtype, device=device)
    responses: dict[int, Response] = {}
    with progress(total=len(rows), unit="row", what=f"generate, {name} model") as bar:
        for index, made in decoding.generate(
            model,
            [row.ids[: row.prompt_length] for row in rows],
            max_new_tokens=settings.max_new_tokens,
            end_of_text=END_OF_TEXT,
            batch_size=settings.batch_size,
        ):
            responses[index] = Response(
                id=rows[index].id,
                model=name,
                text=answer_text(made.ids, tokenizer),
                stop_reason=made.stop_reason,
                tokens=len(made.ids),
            )
            bar.update()
    counts = Counter(response.stop_reason for response in responses.values())
    say(
        f"{name} model: {len(rows)} answers, {sum(made.tokens for made in responses.values())} tokens, "
        f"ended by {', '.join(f'{reason} {count}' for reason, count in sorted(counts.items()))}"
    )
    return [responses[index] for index in range(len(rows))]


def measure(responses: list[Response], name: str) -> dict[str, Any]:
    """Counts over one model's answers."""
    own = [response for response in responses if response.model == name]
    reasons = Counter(response.stop_reason for response in own)
    return {
        "rows": len(own),
        "tokens": sum(response.tokens for response in own),
        "end_of_text": reasons["end_of_text"],
        "max_new_tokens": reasons["max_new_tokens"],
        "context": reasons["context"],
        "empty": sum(not response.text.strip() for response in own),
    }


if __name__ == "__main__":
    program.run("generate", main)
