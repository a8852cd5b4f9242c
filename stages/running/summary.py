"""The results of a run for people, and where its files are: `python -m stages.running.summary`.

It is read from the files that the stages have written, so that `make run`, Prefect and a plain `dvc repro` say the
same. What the numbers mean is in docs/summary.md.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from stages.common.errors import DataError
from stages.common.files import read_json
from stages.common.metrics.finetune import FinetuneMetrics
from stages.common.metrics.generate import GenerateMetrics
from stages.common.metrics.judge import JudgeMetrics
from stages.common.metrics.split import SplitMetrics
from stages.common.plurals import counted
from stages.common.printable import printable
from stages.common.records import Metrics, read_metrics, read_records
from stages.common.results.download import BASE_MODEL
from stages.common.results.finetune import FINETUNE_METRICS, HISTORY, LOSS_CSV, TUNED_MODEL, StepRecord
from stages.common.results.generate import GENERATE_METRICS, RESPONSES, Response
from stages.common.results.judge import JUDGE_METRICS, SCORES_PLOT, VERDICTS, Verdict
from stages.common.results.split import SPLIT_METRICS, Example, split_file
from stages.running import beside, costs, dropped_rows, experiments, program, report
from stages.running.baseline import baseline_lines
from stages.running.console import say
from stages.running.environment import dvc_runs
from stages.running.stage_results import FIGURES
from stages.running.summary_parts.answers import answer_lines, examples
from stages.running.summary_parts.compared import compared_lines
from stages.running.summary_parts.lines import entry
from stages.running.summary_parts.made_with import prompt_line, recipe_lines
from stages.running.summary_parts.origin import Origin
from stages.running.summary_parts.scores import score_lines, verdict_cost_lines
from stages.running.summary_parts.training import cost_lines, device_of, training_lines
from stages.running.tracking import links, started_pages, store

M = TypeVar("M", bound=Metrics)

_IN_THE_CACHE = "in DVC's cache; put the same values into params.yaml, and dvc repro takes them from there"
_OF_AN_EXPERIMENT = "in DVC's cache; dvc exp apply {} brings them into the project's folder"
#: The files that the summary names, and how each is shown.
_FILES = (
    ("model", TUNED_MODEL, ""),
    ("history", HISTORY, ""),
    ("loss curve", LOSS_CSV, " (dvc plots show)"),
    ("answers", RESPONSES, ""),
    ("verdicts", VERDICTS, ""),
    ("score plot", SCORES_PLOT, ""),
)


def text(root: Path = Path(), *, name_files: bool = True, stands: bool = True, commit_tried: bool = False) -> str:
    """The summary, without a line end at its end.

    Where a file is not what it should be, such as one of an earlier version, the summary says so and goes on.

    Args:
        root: folder with params.yaml and artifacts/.
        name_files: whether ``root`` stays, so that its files can be named. Those of a copy of the repository are
            removed with it and are in DVC's cache; the summary says how to get them from there.
        stands: whether the last stage succeeds, so that its results can be published later.
        commit_tried: whether the last commit has just been compared with, as for `beside.of`.

    Raises:
        ConfigError: params.yaml is not what it should be.
    """
    return _Summary(root, commit_tried=commit_tried).text(name_files=name_files, stands=stands)


def _in_the_cache() -> str:
    """How to get the files of a run whose folder is removed."""
    name = os.environ.get(store.EXPERIMENT_VARIABLE)
    return _OF_AN_EXPERIMENT.format(name) if name else _IN_THE_CACHE


def tell(*, stands: bool, commit_tried: bool) -> None:
    """Print the summary of a run whose results are written. No fault in it, whatever it is, makes the run a failure.

    Args:
        stands: whether the last stage succeeds.
        commit_tried: whether the last commit has just been compared with, as for `beside.of`.
    """
    try:
        # DVC writes the entry of the stage that is at work after that has ended.
        making = next(filter(dvc_runs, FIGURES), None)
        found = _Summary(Path(), making=making, commit_tried=commit_tried)
        told = found.text(name_files=experiments.project() is None, stands=stands)
    except Exception as error:
        told = f"the summary cannot be shown: {error!r}; the results are written"
    say(told)


class _Summary:
    """The summary of the results in a folder, and what is wrong with them.

    Args:
        root: folder with params.yaml and artifacts/.
        making: stage that is ending at this moment, and which DVC records next; None where none is.
        commit_tried: whether the last commit has just been compared with, as for `beside.of`.
    """

    def __init__(self, root: Path, *, making: str | None = None, commit_tried: bool = False) -> None:
        self._root = root
        self._commit_tried = commit_tried
        self._origin = Origin(root, making=making)
        #: The files that are not what they should be.
        self.errors: list[DataError] = []

    def text(self, *, name_files: bool, stands: bool = True) -> str:
        files = self._files() if name_files else [_in_the_cache()]
        pages = started_pages.mlflow_address(self._root)
        tracked = links.store_lines(self._root, stays=name_files, stands=stands, pages=pages)
        lines = [
            *entry("run", links.name_lines(self._root)),
            *entry("profile", [self._profile()]),
            *entry("changed", self._origin.changed_lines()),
            *entry("unrecorded", self._origin.unrecorded_lines()),
            *entry("outdated", self._origin.outdated_lines()),
            *entry("values", self._origin.values_lines()),
            *entry("data", self._figures("split", self._data)),
            *entry("prompt", self._prompt()),
            *entry("model", self._told(self._model)),
            *entry("training", self._figures("finetune", self._training)),
            *entry("warning", self._origin.warnings()),
            *entry("score", self._figures("judge", self._score)),
            *entry("compared", self._compared()),
            *entry("answers", self._figures("generate", self._answers)),
            *self._examples(),
            *entry("files", [*files, *tracked]),
            *entry("baseline", baseline_lines() if name_files and self._root.samefile(Path()) else []),
        ]
        return "\n".join(lines)

    def _figures(self, stage: str, part: Callable[[], list[str]]) -> list[str]:
        """The lines of a stage's figures; where these are of an earlier run than the others, that alone."""
        if stage in self._origin.outdated:
            return [f"of an earlier {self._origin.outdated[stage]} than the one here: dvc repro {stage}"]
        return self._told(part)

    def _told(self, part: Callable[[], list[str]]) -> list[str]:
        """The lines of a part, or what is wrong with a file that it reads."""
        try:
            return part()
        except DataError as error:
            return self._problem(error)

    def _costs(self, part: Callable[[], list[str]]) -> list[str]:
        """As `_told`, of costs: they are no result, so that a file of theirs that cannot be read is no error."""
        try:
            return part()
        except DataError as error:
            return [f"costs not shown: {error.what}; to fix it: {error.fix}"]

    def _problem(self, error: DataError) -> list[str]:
        self.errors.append(error)
        return [f"{error.what}; to fix it: {error.fix}"]

    def _read(self, path: Path, kind: type[M], made_by: str) -> M | None:
        """Metrics; None where the file is missing."""
        return read_metrics(self._root / path, kind, made_by=made_by) if (self._root / path).exists() else None

    def _profile(self) -> str:
        """The label in params.yaml, which no result depends on; it may be another one than when these were made."""
        label = self._origin.settings.profile
        return f"{label} (of params.yaml, which has changed since)" if self._origin.changes() else label

    def _data(self) -> list[str]:
        found = self._read(SPLIT_METRICS, SplitMetrics, "dvc repro split")
        if found is None:
            return ["not made yet: dvc repro split"]
        rows = found.rows
        source = self._origin.made.get("download", {}).get("data", {}).get("source")
        counts = f"{rows['train']:,} train, {rows['test']:,} test and {counted(rows['val'], 'validation row')}"
        told = f"{source}: {counts}" if source else counts
        return list(filter(None, [told, dropped_rows.line(self._root)]))

    def _prompt(self) -> list[str]:
        """How the rows become tokens."""
        section = self._origin.made.get("tokenize")
        return [prompt_line(section)] if section and "tokenize" not in self._origin.outdated else []

    def _compared(self) -> list[str]:
        if "judge" in {*self._origin.outdated, *self._origin.unrecorded}:
            return []
        return compared_lines(beside.of(self._root, commit_tried=self._commit_tried))

    def _model(self) -> list[str]:
        """The model that was downloaded; where there is none, the one that params.yaml asks for."""
        source = self._origin.settings.download.model.model_dump() | self._origin.made.get("download", {}).get(
            "model", {}
        )
        with contextlib.suppress(DataError):
            made = read_json(self._root / BASE_MODEL / "config.json", made_by="dvc repro download")
            source |= {key: made[key] for key in ("n_layer", "n_embd") if key in made}
        at = f" at {str(source['revision'])[:7]}" if source["weights"] == "hub" else ""
        origin = "random weights" if source["weights"] == "scratch" else f"{source['repo']}{at}"
        size = f"GPT-2, {counted(source['n_layer'], 'layer')}, width {source['n_embd']}"
        with contextlib.suppress(DataError):  # which the training tells
            trained = self._read(FINETUNE_METRICS, FinetuneMetrics, "dvc repro finetune")
            if trained and "finetune" not in self._origin.outdated:
                size += f", {trained.parameters:,} parameters"
        return [f"{size}, from {origin}"]

    def _training(self) -> list[str]:
        found = self._read(FINETUNE_METRICS, FinetuneMetrics, "dvc repro finetune")
        if found is None:
            return ["not made yet: dvc repro finetune"]
        section = self._origin.made.get("finetune")
        recipe = recipe_lines(section, found) if section else []
        first, *losses = training_lines(found, self._history(), section or {})
        return [f"{first}{self._device()}", *recipe, *losses, *self._costs(self._training_costs)]

    def _history(self) -> Iterator[StepRecord]:
        if (self._root / HISTORY).exists():
            yield from read_records(self._root / HISTORY, StepRecord, made_by="dvc repro finetune")

    def _training_costs(self) -> list[str]:
        return cost_lines(found) if (found := costs.of_training(self._root)) else []

    def _device(self) -> str:
        """The device that trained, if it is known."""
        with contextlib.suppress(DataError):  # which the costs tell
            if found := costs.of_training(self._root):
                return f", {device_of(found, self._origin.made.get('finetune', {}).get('devices', 1))}"
        return ""

    def _score(self) -> list[str]:
        found = self._read(JUDGE_METRICS, JudgeMetrics, "dvc repro judge")
        if found is None:
            return ["not made yet: dvc repro judge"]
        return score_lines(found, self._costs(self._judging_costs))

    def _judging_costs(self) -> list[str]:
        """What a verdict cost, if the judge was asked here."""
        return verdict_cost_lines(found) if (found := costs.of_judging(self._root)) else []

    def _answers(self) -> list[str]:
        found = self._read(GENERATE_METRICS, GenerateMetrics, "dvc repro generate")
        return ["not made yet: dvc repro generate"] if found is None else answer_lines(found)

    def _examples(self) -> Iterator[str]:
        if {"split", "generate", "judge"} & self._origin.outdated.keys():
            return
        test, responses, verdicts = (self._root / path for path in (split_file("test"), RESPONSES, VERDICTS))
        if not (test.exists() and responses.exists() and verdicts.exists()):
            return
        try:
            found = examples(
                list(read_records(test, Example, made_by="dvc repro split")),
                list(read_records(responses, Response, made_by="dvc repro generate")),
                list(read_records(verdicts, Verdict, made_by="dvc repro judge")),
            )
        except DataError as error:
            found = [self._problem(error)]
        for lines in found:
            yield from entry("example", lines)

    def _files(self) -> list[str]:
        found = [f"{name:<12}{path}{how}" for name, path, how in _FILES if (self._root / path).exists()]
        return [*found, f"{'report':<12}{report.REPORT}"] if report.is_current(self._root) else found


def main() -> None:
    """Print the summary of the working directory's results.

    Raises:
        DataError: a file is not what it should be; the first one is named.
    """
    summary = _Summary(Path())
    print(printable(summary.text(name_files=True)))
    for error in summary.errors[:1]:
        raise error


if __name__ == "__main__":
    program.run("summary", main)
