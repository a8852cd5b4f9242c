"""What the results in a folder were made with, by dvc.lock, and what of that is no longer what params.yaml says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.common import paths
from stages.common.results.download import BASE_MODEL
from stages.params import reading, whole
from stages.params.differences import ABSENT, differences, shown
from stages.running import committed, git, held
from stages.running.lock import Recorded
from stages.running.stage_results import FIGURES
from stages.running.summary_parts.made_with import values_lines as in_words

#: The most values that are named of those that have changed.
_CHANGES = 5
#: What the summary tells of; of the stage download it is the model.
_TOLD = {"download": BASE_MODEL, **FIGURES}


class Origin:
    """What the results in a folder were made with.

    Args:
        root: folder with params.yaml and artifacts/.
        making: stage that is ending at this moment, and which DVC records next; None where none is.
    """

    def __init__(self, root: Path, *, making: str | None = None) -> None:
        self._root = root
        self.settings = whole.load(root / paths.PARAMS)
        self._params: dict[str, Any] = self.settings.model_dump()
        given = held.values_of_stage() or reading.flatten({making: self._params[making]}) if making else {}
        recorded = Recorded.of(root, making=making, given=given)
        #: Stages whose results were made from others than those here, each with the stage that has new ones.
        self.outdated = recorded.outdated()
        #: Stages whose results are not those of the last success that DVC has recorded.
        self.unrecorded = [
            stage for stage, path in FIGURES.items() if (root / path).exists() and not recorded.holds(root, path)
        ]
        #: The values that the results here were made with, by section, as far as they are known.
        self.made: dict[str, Any] = {
            stage: recorded.values[stage]
            for stage, path in _TOLD.items()
            if (root / path).exists() and stage in recorded.values and stage not in self.unrecorded
        }

    def values_lines(self) -> list[str]:
        """How the values that made the results differ from those of the last commit, which `git` tells."""
        commit = git.ask(self._root, "rev-parse", "HEAD")[:7]
        there = committed.values(self._root)
        made = {stage: values for stage, values in self.made.items() if stage not in self.outdated}
        return in_words(there, made, commit) if commit and made and there is not None else []

    def changes(self) -> list[str]:
        """The values of params.yaml that differ from those that the results were made with."""
        now = {stage: self._params[stage] for stage in self.made}
        return [
            f"{key} was {shown(before)} when these results were made, and is {shown(here)} now"
            for key, before, here in differences(self.made, now)
            if before is not ABSENT  # of another version of the program
        ]

    def changed_lines(self) -> list[str]:
        """What to say of the values that have changed; nothing where none has."""
        lines = self.changes()
        if not lines:
            return []
        more = [f"and {len(lines) - _CHANGES} more"] if len(lines) > _CHANGES else []
        head = "params.yaml has other values now; dvc repro makes results with them"
        return [head, *lines[:_CHANGES], *more]

    def unrecorded_lines(self) -> list[str]:
        """The stages whose results here are not those of the last success that DVC has recorded."""
        return [
            f"{FIGURES[stage]} is not what dvc.lock records; dvc repro {stage} makes it again"
            for stage in self.unrecorded
        ]

    def outdated_lines(self) -> list[str]:
        """The stages whose results were made from others than those here."""
        stages = [stage for stage in FIGURES if stage in self.outdated and (self._root / FIGURES[stage]).exists()]
        return [f"{', '.join(stages)}: stages before have run again since; dvc repro brings all up to date"] * bool(
            stages
        )

    def warnings(self) -> list[str]:
        """What is wrong with the recipe as a whole."""
        here = {"download", "finetune"} <= self.made.keys() and "finetune" not in self.outdated
        return whole.advice(self.made["download"], self.made["finetune"]) if here else []
