"""Made rows with the lengths of Stanford Alpaca's: any number of them, the same for a seed.

Of Alpaca's 52,002 rows (tatsu-lab/stanford_alpaca, alpaca_data.json) two in five have an input. The words are those of
the bundled dataset and 30,000 made ones, as frequent as Zipf's law says, so that there are rare words and few repeats.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterator

from benchmarks.child import ROOT

_SYLLABLES = ["ka", "ter", "mo", "ri", "sen", "lo", "vi", "pra", "dun", "est", "al", "ing", "or", "ble"]
_TASKS = (
    "Describe",
    "Explain",
    "Write a short text about",
    "Summarize",
    "Generate a list of",
    "Name three facts about",
    "Rewrite the sentence so that it mentions",
    "Compare",
    "Classify the following text about",
    "Create a story about",
)


def rows(count: int, seed: int) -> Iterator[dict[str, str]]:
    """Made rows.

    Args:
        count: number of rows.
        seed: seed of all that is drawn.
    """
    generator = random.Random(seed)
    words = _words(generator)
    chances = list(itertools.accumulate(1 / (rank + 2.7) for rank in range(len(words))))

    def text(length: float) -> str:
        chosen = generator.choices(words, cum_weights=chances, k=max(int(length), 1))
        return " ".join(word + generator.choices(("", ",", ".", ".\n", " 7"), (80, 7, 10, 1, 2))[0] for word in chosen)

    for _ in range(count):
        yield {
            "instruction": f"{generator.choice(_TASKS)} {text(generator.gauss(7, 3))}.",
            "input": text(generator.lognormvariate(2.2, 0.7)) if generator.random() < 0.4 else "",
            "output": text(min(generator.lognormvariate(3.4, 0.9), 400)),
        }


def _words(generator: random.Random) -> list[str]:
    bundled = json.loads((ROOT / "assets/data/instructions.json").read_text(encoding="utf-8"))
    found = sorted(
        {word for row in bundled for word in re.findall(r"[A-Za-z]+", f"{row['instruction']} {row['output']}")}
    )
    generator.shuffle(found)
    made = ("".join(generator.choices(_SYLLABLES, k=generator.randint(2, 4))) for _ in range(30_000))
    return [*found, *made]
