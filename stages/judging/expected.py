"""The mean of a judge's score over its own probabilities, from the ``top_logprobs`` that Ollama and OpenAI give alike.

The most likely score throws away how sure the judge is. The mean over the distribution of the score's one token is the
better estimate for small judges that reply without reasoning first (arXiv 2503.03064). It wants a scale on which each
score is a single token, such as 0 to 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from stages.judging.rubric import InvalidVerdict, Rubric

#: Alternatives asked for at each token: the most that Ollama and OpenAI give.
TOP = 20
#: The least probability that the scores among them must have together.
LEAST_MASS = 0.5


def expected_score(tokens: Sequence[Any], score: int, rubric: Rubric) -> float:
    """The expected score on the rubric's scale.

    Args:
        tokens: the reply's tokens in order, each ``{"token", "logprob", "top_logprobs": [{"token", "logprob"}]}``.
        score: what the reply says as a whole, by which the token that holds it is found.
        rubric: for the scale.

    Raises:
        InvalidVerdict: no token is the score, no alternatives came with it, or they are mostly no scores.
    """
    place = _place(tokens, score, rubric)
    weights: dict[int, float] = {}
    for alternative in tokens[place].get("top_logprobs") or []:
        text = str(alternative.get("token")).strip()
        if text.isascii() and text.isdigit() and rubric.lowest <= int(text) <= rubric.highest:
            weights[int(text)] = weights.get(int(text), 0.0) + math.exp(float(alternative["logprob"]))
    mass = sum(weights.values())
    if mass < LEAST_MASS:
        raise InvalidVerdict(f"the server gives scores a probability of {mass:.2f} in all in its top_logprobs")
    return sum(value * weight for value, weight in weights.items()) / mass


def _place(tokens: Sequence[Any], score: int, rubric: Rubric) -> int:
    """The first token that is the score: after the key in a JSON object."""
    said = ""
    for place, token in enumerate(tokens):
        if not isinstance(token, dict):
            break
        text = str(token.get("token"))
        if text.strip() == str(score) and (rubric.reply == "integer" or '"score"' in said):
            return place
        said += text
    raise InvalidVerdict("no token of its own for the score in the server's logprobs")
