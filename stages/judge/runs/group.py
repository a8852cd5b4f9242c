"""Groups of runs: trainings of one recipe that differ in their seeds, and what else is known of the recipe's seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stages.common.errors import ConfigError
from stages.common.plurals import counted
from stages.judge.runs import recipe
from stages.judge.runs.sources import Run, trainings_of

#: Differences of recipes, and runs, that a message names at most.
_MOST_NAMED = 6


@dataclass(frozen=True)
class Group:
    """One or several runs that are compared as one.

    Attributes:
        name: what to call it.
        runs: its runs, at least one; several are trainings of one recipe with different seeds, by one judge.
        known: other trainings of the recipe, from which is learnt how much seeds do; they are not compared.
        notes: what the user should know of it, a line each.
    """

    name: str
    runs: tuple[Run, ...]
    known: tuple[Run, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def recipe(self) -> dict[str, Any] | None:
        """The recipe of its runs; None where it is not known."""
        return next((found for run in self.runs if (found := run.recipe) is not None), None)

    @property
    def seeds(self) -> list[int]:
        """The seeds of its trainings, as far as they are known."""
        return [run.seed for run in self.runs if run.seed is not None]

    def trainings(self) -> tuple[Run, ...]:
        """The runs that show how much seeds do."""
        return (*self.runs, *self.known)


def of_runs(name: str, runs: Sequence[Run]) -> Group:
    """A group of runs.

    Args:
        name: what to call it, where it has several runs.
        runs: the runs. Of several with one seed only the first is taken, which a note says.

    Raises:
        ConfigError: there is none, or they are not of one recipe, or not by one judge.
    """
    if not runs:
        raise ConfigError(f"{name}: expected runs with verdicts, found none", "make runs shows the runs that there are")
    if len(runs) == 1:
        return Group(runs[0].name, tuple(runs))
    _require_one_judge(name, runs)
    notes: list[str] = []
    kept: dict[object, Run] = {}
    first: tuple[Run, Mapping[str, Any]] | None = None
    for run in runs:
        found = run.recipe
        if found is None:
            notes.append(f"{run.name}: its values are not known: that it is of the recipe of the others is not checked")
            kept[run.name] = run
            continue
        if first is None:
            first = (run, found)
        elif differing := recipe.between(first[1], found):
            raise _of_two_recipes(name, first[0], run, differing)
        if run.seed in kept:
            notes.append(f"{run.name} is left out: {kept[run.seed].name} has the same seed, {run.seed}")
        else:
            kept[run.seed] = run
    return Group(name if len(kept) > 1 else runs[0].name, tuple(kept.values()), notes=tuple(notes))


def with_known(group: Group) -> Group:
    """The group with the other trainings of its recipe that are known, where it has one training alone."""
    if len(group.runs) > 1:
        return group
    return replace(group, known=tuple(trainings_of(group.runs[0])))


def require_apart(a: Group, b: Group) -> None:
    """Refuse two groups that share a training: it cannot be better than itself. Two single runs may be the same.

    Raises:
        ConfigError: they do.
    """
    if len(a.runs) == len(b.runs) == 1 or a.recipe is None or a.recipe != b.recipe:
        return
    if shared := sorted(set(a.seeds) & set(b.seeds)):
        seeds = ", ".join(map(str, shared))
        raise ConfigError(
            f"{a.name} and {b.name} are of one recipe, and both hold the training with {recipe.SEED} {seeds}",
            "name each training in one of the groups alone",
        )


def _require_one_judge(name: str, runs: Sequence[Run]) -> None:
    for run in runs[1:]:
        if not run.judge.is_same(runs[0].judge):
            raise ConfigError(
                f"{name}: {runs[0].name} and {run.name} were scored by two judges, so that they are no one group",
                "score all of them by one judge, or leave out those of the other",
            )


def _of_two_recipes(name: str, first: Run, run: Run, differing: Sequence[str]) -> ConfigError:
    shown = ", ".join(differing[:_MOST_NAMED])
    more = len(differing) - _MOST_NAMED
    others = f" and {counted(more, 'other value')}" if more > 0 else ""
    return ConfigError(
        f"{name}: {first.name} and {run.name} are not of one recipe, which may differ in {recipe.SEED} alone: "
        f"{shown}{others}",
        "put runs of two recipes into two groups: A B vs C D; train those again whose code or data is old",
    )
