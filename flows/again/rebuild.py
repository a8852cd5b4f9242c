"""Makes all results again in a copy of a commit: each stage runs, whatever DVC has kept of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flows import dvc_process
from flows.stage_process import StageFailed, run_stage
from flows.waits import grace
from stages.common import paths
from stages.common.errors import ConfigError, PipelineError
from stages.common.secrecy import hidden
from stages.running import dvc_yaml
from stages.running.checks.preflight import VARIABLE


class NotMade(PipelineError):
    """A stage has failed, with its exit code and its message.

    Args:
        failure: how it failed.
    """

    def __init__(self, failure: StageFailed) -> None:
        super().__init__(hidden(failure.message))
        self.exit_code = failure.exit_code


def require_pipeline(tree: Path, stages: Mapping[str, Any], *, name: str) -> None:
    """Refuse a dvc.yaml that has other stages, commands, inputs or outputs than those which made the results.

    Args:
        tree: copy of the commit.
        stages: entries of the dvc.lock, by stage.
        name: name of what is made again, for messages.

    Raises:
        ConfigError: it differs.
    """
    there = dvc_yaml.entries(tree)
    for stage, entry in stages.items():
        one = there.get(stage)
        made = (entry.get("cmd"), _paths(entry, "deps"), _paths(entry, "outs"))
        if one is None or (one.cmd, set(map(str, one.deps)), set(map(str, one.outs))) != made:
            raise ConfigError(
                f"{name}: its dvc.yaml is not the commit's: the stage {stage} has another command, other inputs or "
                "outputs: it was changed and not committed",
                "git commit the dvc.yaml of the run, which MLflow keeps, with its code; then the same command",
            )


def made_again(
    root: Path, tree: Path, order: Sequence[str], *, tell: Callable[[str], None], variables: Mapping[str, str]
) -> Iterator[str]:
    """Run all stages in a copy of a commit, one after the other.

    Args:
        root: the user's repository.
        tree: the copy.
        order: names of the stages and .dvc files.
        tell: function that is called with each line of their output.
        variables: environment variables for the stages.

    Yields:
        The name of each, when it has ended.

    Raises:
        NotMade: one has failed.
    """
    given = {VARIABLE: "off", paths.ROOT_VARIABLE: str(root), **variables}
    try:
        for stage, following in zip(order, [*order[1:], ""], strict=True):

            def stopping(stage: str = stage) -> None:
                tell(f"{stage}: stopping (up to {grace():.0f} s)")

            try:
                run_stage(stage, tree, log=tell, force=True, variables=given, stopping=stopping, following=following)
            except StageFailed as failure:
                raise NotMade(failure) from None
            yield stage
    finally:
        dvc_process.discard()


def _paths(entry: Mapping[str, Any], kind: str) -> set[str]:
    return {str(one["path"]) for one in entry.get(kind) or ()}
