"""What is wrong with a verdict that options of the judge can fix, and which options these are."""

from __future__ import annotations

import re

from stages.judge.judges.protocol import DEADLINE

#: What a verdict says whose reply the model did not end itself, and the reason where the limit on its length did.
NO_END, AT_THE_LIMIT = "the verdict did not end by itself", "length"
#: What a verdict says whose prompt left too little of the context.
NO_ROOM = "leaves no room for a verdict"
#: What servers say of a prompt that is longer than the context, in a reply with status 400, 413 or 422. By their source
#: text: llama.cpp and Ollama ("exceeds the available context size", "exceeds the context length", "prompt is too
#: long"), vLLM and OpenAI ("maximum context length is", "longer than the maximum model length", "too many tokens").
_TOO_LONG = re.compile(
    r"exceeds? the (available |maximum )?context|maximum (context|model) length|prompt is too long|too many tokens",
    re.IGNORECASE,
)


def is_too_long(said: str) -> bool:
    """Whether a server that refuses a request says that the prompt is too long, which the next time it would be too."""
    return _TOO_LONG.search(said) is not None


def of_verdict(detail: str) -> str | None:
    """How to get a score in place of a verdict with this detail, by an option; None where no option would help."""
    if re.search(rf"{NO_END} \(\w+ {AT_THE_LIMIT!r}\)", detail):
        return "raise judge.num_predict in params.yaml: the reply was cut off at its longest length"
    if NO_ROOM in detail or is_too_long(detail):
        return (
            "raise judge.num_ctx in params.yaml, which prompt and reply share; "
            "where judge.backend is openai, start the server with a longer context"
        )
    return None


def of_lateness(parallel: int) -> str:
    """What to do about a verdict that came too late.

    Args:
        parallel: number of verdicts asked for at a time. What a server has no slot for waits there, and its deadline
            runs.
    """
    if parallel == 1:
        return f"for a slower judge raise {DEADLINE} in params.yaml"
    return (
        f"for a slower judge raise {DEADLINE} in params.yaml; if its server works on fewer than {parallel} at a time, "
        "lower judge.parallel"
    )
