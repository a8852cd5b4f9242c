"""The mean of a judge's score over its own probabilities, from the ``top_logprobs`` that Ollama and OpenAI give alike.

The most likely score does not show how sure the judge is. For small judges that reply without reasoning first, the mean
over the distribution of the score's token is the better estimate (arXiv 2503.03064). It needs a scale on which each
score is a single token, such as 0 to 5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from stages.judge.judges.rubric import InvalidVerdict, Rubric

#: The highest score of a scale on which each is a single token, whatever the tokenizer.
LONGEST = 9
#: Alternatives asked for at each token: the most that Ollama and OpenAI give.
TOP = 20
#: The least probability that the scores among them must have together.
LEAST_MASS = 0.5


def expected_score(tokens: Sequence[Any], score: int, rubric: Rubric) -> float:
    """The expected score on the rubric's scale.

    Args:
        tokens: the reply's tokens in order, each ``{"token", "logprob", "top_logprobs": [{"token", "logprob"}]}``.
        score: the score in the whole reply, by which its token is found.
        rubric: rubric with the scale.

    Raises:
        InvalidVerdict: no token is the score, no alternatives came with it, they are mostly no scores, or their
            logarithms are none of probabilities.
    """
    index = _score_index(tokens, score, rubric)
    weights: dict[int, float] = {}
    for text, probability in _alternatives(tokens[index].get("top_logprobs")):
        if len(text) == 1 and text.isascii() and text.isdigit() and rubric.lowest <= int(text) <= rubric.highest:
            weights[int(text)] = weights.get(int(text), 0.0) + probability
    mass = sum(weights.values())
    if mass < LEAST_MASS:
        raise InvalidVerdict(f"the server gives scores a probability of {mass:.2f} in all in its top_logprobs")
    return sum(value * weight for value, weight in weights.items()) / mass


def _alternatives(found: Any) -> Iterator[tuple[str, float]]:
    """The alternatives at one token without the white space around them, and their probabilities."""
    if not isinstance(found or [], list):
        raise InvalidVerdict("the server's top_logprobs are no list")
    for one in found or []:
        logprob = one.get("logprob") if isinstance(one, dict) else None
        # Rounding can lift the logarithm of 1 a little above 0; NaN fails the comparison.
        if not isinstance(logprob, int | float) or not -1e6 <= logprob <= 1e-3:
            raise InvalidVerdict("the server's top_logprobs hold what is no logarithm of a probability")
        yield str(one.get("token")).strip(), math.exp(logprob)


def _score_index(tokens: Sequence[Any], score: int, rubric: Rubric) -> int:
    """The index of the first token that is the score; in a JSON object, of the first after the key."""
    said = ""
    for index, token in enumerate(tokens):
        if not isinstance(token, dict):
            break
        text = str(token.get("token"))
        if text.strip() == str(score) and (rubric.reply == "integer" or '"score"' in said):
            return index
        said += text
    raise InvalidVerdict("no token of its own for the score in the server's logprobs")
