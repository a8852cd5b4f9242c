"""What is wrong with a verdict that options of the judge can fix, and which options these are."""

from __future__ import annotations

import re

from stages.judge.judges.protocol import DEADLINE

#: What a verdict says whose reply the model did not end itself, and the reason where the limit on its length did.
NO_END, AT_THE_LIMIT = "the verdict did not end by itself", "length"
#: What such a verdict says of a model that has thought, where its thinking counts in the longest length.
THOUGHT = "the model had thought"
#: What a verdict says whose prompt left too little of the context.
NO_ROOM = "leaves no room for a verdict"
#: What servers say of a prompt that is longer than the context, in a reply with status 400, 413 or 422. By their source
#: text: llama.cpp and Ollama ("exceeds the available context size", "exceeds the context length", "prompt is too
#: long"), vLLM and OpenAI ("maximum context length is", "longer than the maximum model length", "too many tokens").
_TOO_LONG = re.compile(
    r"exceeds? the (available |maximum )?context|maximum (context|model) length|prompt is too long|too many tokens",
    re.IGNORECASE,
)

#: What Ollama says with status 503 where more requests wait than OLLAMA_MAX_QUEUE (server/sched.go, ErrMaxQueue).
_FULL_QUEUE = re.compile(r"maximum pending requests exceeded", re.IGNORECASE)


def is_too_long(said: str) -> bool:
    """Whether a server that refuses a request says that the prompt is too long, which the next time it would be too."""
    return _TOO_LONG.search(said) is not None


def of_verdict(detail: str) -> str | None:
    """How to get a score in place of a verdict with this detail, by an option; None where no option would help."""
    if re.search(rf"{NO_END} \(\w+ {AT_THE_LIMIT!r}\); {THOUGHT}", detail):
        return (
            "set judge.num_predict to 1024 or more in params.yaml, since the model thinks first, and this counts; or "
            "have it think less by judge.think: false or, where it cannot stop thinking, low"
        )
    if re.search(rf"{NO_END} \(\w+ {AT_THE_LIMIT!r}\)", detail):
        return "raise judge.num_predict in params.yaml: the reply was cut off at its longest length"
    if NO_ROOM in detail or is_too_long(detail):
        return (
            "raise judge.num_ctx in params.yaml, which prompt and reply share; "
            "where judge.backend is openai, start the server with a longer context"
        )
    if _FULL_QUEUE.search(detail):
        return (
            "lower judge.parallel in params.yaml, or raise OLLAMA_NUM_PARALLEL or OLLAMA_MAX_QUEUE where the server "
            "runs: more is asked at a time than it takes"
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
