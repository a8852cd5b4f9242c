"""Whether a recipe may take the champion's place: only by the two-level test, which allows for training seeds.

A champion that moves at each higher score moves by chance: of two trainings of one recipe one always scores higher. So
the candidate's trainings are compared with the champion's by `stages.judge.runs.verdict`, on the same test rows, by the
same judge and with the same prompt style, and the candidate takes the place where it is better at 5 %.

That is the error of one comparison. Where many candidates are tried against one champion, one may win by chance: of 20
that are no better, in at most 2 of 5 cases, since half of what is found by chance is a candidate that is worse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.common.results.split import split_file
from stages.judge.runs.comparison import TEST_OF_SEEDS, Comparison
from stages.judge.runs.group import Group
from stages.judge.runs.results import RunsCompared, compare_groups
from stages.judge.runs.sources import Run

#: The stages that read the test rows, and whose dvc.lock entry names their MD5.
_READ_TEST_ROWS = ("generate", "judge")
#: Digits of a digest that are shown.
_DIGITS = 7


@dataclass(frozen=True)
class Decision:
    """Whether the champion moves.

    Attributes:
        moves: whether it does.
        why: the reason, in a sentence without its full stop.
        compared: the comparison of the candidate with the champion; None where they are not to be compared.
    """

    moves: bool
    why: str
    compared: RunsCompared | None = None


def decide(champion: Group, candidate: Group, *, resamples: int, seed: int) -> Decision:
    """Whether a candidate takes the champion's place.

    Args:
        champion: the trainings of the champion's recipe that are known.
        candidate: those of the candidate's.
        resamples: number of resamples of the bootstrap and of the permutation test.
        seed: seed of both.

    Raises:
        ConfigError: a run has no scores.
    """
    if differing := list(unlike(champion, candidate)):
        return Decision(False, f"they cannot be compared, since {'; '.join(differing)}")
    (compared,) = compare_groups([champion, candidate], model="tuned", resamples=resamples, seed=seed)
    found = compared.comparison
    rests = f"; {found.rests_on}" if found.rests_on else ""
    if found.test == TEST_OF_SEEDS and found.verdict == "B is better":
        return Decision(True, f"the candidate is better{rests}", compared)
    return Decision(False, f"{_in_words(found)}{rests}", compared)


def unlike(champion: Group, candidate: Group) -> Iterator[str]:
    """What makes scores incomparable, a text each: other test rows, another judge, another prompt style."""
    a, b = champion.runs[0], candidate.runs[0]
    for what, by, first, second in (
        ("test rows", " by MD5", test_rows_of(a)[:_DIGITS], test_rows_of(b)[:_DIGITS]),
        ("prompt styles", "", _style_of(a), _style_of(b)),
    ):
        if not first or not second:
            yield f"the {what} of the {'champion' if not first else 'candidate'} are not known"
        elif first != second:
            yield f"their {what} differ{by} (champion {first}, candidate {second})"
    if not a.judge.is_same(b.judge):
        named = (f"{one.name}, fingerprint {one.fingerprint[:_DIGITS]}" for one in (a.judge, b.judge))
        yield "their judges differ (champion {}; candidate {})".format(*named)
    elif b.judge.mark:
        yield f"the judge is {b.judge.marked(b.judge.name)}"


def test_rows_of(run: Run) -> str:
    """The MD5 of the test rows that a run answered; empty where it is not known."""
    read = (run.inputs.get(stage, {}).get(Path(split_file("test"))) for stage in _READ_TEST_ROWS)
    return next(filter(None, read), "")


def _style_of(run: Run) -> str:
    section = run.values.get("tokenize")
    return str(section.get("prompt_style", "")) if section else ""


def _in_words(found: Comparison) -> str:
    """The verdict with champion and candidate for A and B."""
    said = found.verdict
    for letter, name in (("A", "the champion"), ("B", "the candidate")):
        said = f"{name}{said.removeprefix(letter)}" if said.startswith(f"{letter} ") else said
    return said
