"""MLflow's model registry: a version for each run that has succeeded, which points at the weights that DVC has.

The registered model of a profile is ``instruct-pipeline-PROFILE``. Its alias ``candidate`` is the newest success;
``champion`` moves by `flows.promote` alone. Registration fails no run: what goes wrong is said in one line.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.common import paths
from stages.common.results.finetune import TUNED_MODEL
from stages.common.results.judge import JUDGE_METRICS
from stages.params import whole
from stages.running import lock, temporary
from stages.running.console import say
from stages.running.lock import Output
from stages.running.tracking import (
    champions,
    doors,
    loadable,
    lookup,
    metric_names,
    mlflow_access,
    mlflow_experiment,
    names,
    published,
    store,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

CANDIDATE, CHAMPION = "candidate", champions.ALIAS
#: The tag of a version with the MD5 by which DVC names the model, and those of its run and its commit.
MD5, RUN, COMMIT = "dvc.md5", "run", "git.commit"
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
#: Figures of the run that a version's description has.
_SCORE = (metric_names.SCORE, metric_names.SCORE_LOWER, metric_names.SCORE_UPPER)


@dataclass(frozen=True)
class Version:
    """A version of a registered model.

    Attributes:
        name: name of the registered model.
        number: its number, as text.
        run_id: id of its run.
        tags: its tags.
        aliases: its aliases.
    """

    name: str
    number: str
    run_id: str
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @classmethod
    def of(cls, found: Any) -> Version:
        """From what MLflow's client gives."""
        return cls(found.name, str(found.version), found.run_id or "", dict(found.tags), tuple(found.aliases))

    @property
    def uri(self) -> str:
        """Its address for `mlflow.pyfunc.load_model`."""
        return f"models:/{self.name}/{self.number}"


def name_of(profile: str) -> str:
    """The name of the registered model of a profile; MLflow takes no slash and no colon."""
    return f"{mlflow_experiment.PROJECT}-{_NOT_IN_A_NAME.sub('-', profile)}"


def register(mlflow: MlflowClient, run_id: str, root: Path, ran: Collection[str], *, newest: bool = True) -> None:
    """Register the model of a run that has succeeded, and give it the alias candidate. It never raises.

    Results that have a version already get no other one. A run without scores, or which scores the answers of another
    one, gets none, and neither does one in which nothing was to be done. One that makes an earlier run again is no
    newer candidate: the alias stays where it is.

    Args:
        mlflow: the client.
        run_id: id of the run, which was published.
        root: folder with params.yaml, dvc.lock and artifacts/.
        ran: stages that ran in this execution.
        newest: whether these results are new; earlier ones get the alias only where no version has it, or the run of
            that version is older.
    """
    try:
        model = _model_in(root)
        if model is not None and (root / JUDGE_METRICS).exists():
            _register(mlflow, run_id, root, model, ran, newest=newest)
    except Exception as error:
        say(f"tracking: the model is not in MLflow's registry: {mlflow_access.why(error)}")


def _register(
    mlflow: MlflowClient, run_id: str, root: Path, model: Output, ran: Collection[str], *, newest: bool
) -> None:
    run = mlflow.get_run(run_id)
    if doors.of(run.data.tags) == doors.RESCORED:
        return
    name, digest = name_of(whole.load(root / paths.PARAMS).profile), published.digest(root)
    found = _search(mlflow, name, published.TAG, digest)
    if not found:
        if not ran and _is_there(mlflow, run_id, root, digest):
            return  # this run is deleted at its end
        found = [_create(mlflow, run, name, root, model, digest)]
    if doors.of(run.data.tags) == doors.RERUN:
        return
    if newest or _started(mlflow, found[0]) > _started(mlflow, _candidate(mlflow, name)):
        mlflow.set_registered_model_alias(name, CANDIDATE, found[0].number)


def _candidate(mlflow: MlflowClient, name: str) -> Version | None:
    number = mlflow.get_registered_model(name).aliases.get(CANDIDATE)
    return Version.of(mlflow.get_model_version(name, number)) if number is not None else None


def _started(mlflow: MlflowClient, version: Version | None) -> int:
    """When the run of a version started, in milliseconds since 1970; -1 without a version, or where it has no run."""
    from mlflow.exceptions import MlflowException

    if version is None:
        return -1
    try:
        return int(mlflow.get_run(version.run_id).info.start_time)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return -1
        raise


def _is_there(mlflow: MlflowClient, run_id: str, root: Path, digest: str) -> bool:
    """Whether another run has these results."""
    return any(run.info.run_id != run_id for run in store.all_by_tag(mlflow, root, published.TAG, digest))


def _create(mlflow: MlflowClient, run: Any, name: str, root: Path, model: Output, digest: str) -> Version:
    """Create the version of a run's model, and the registered model if need be."""
    run_id, commit = run.info.run_id, run.data.tags.get("git.commit", "")
    short = names.short_of(run.info.run_name)
    tags = {MD5: model.digest, published.TAG: digest, RUN: short, **({COMMIT: commit} if commit else {})}
    _ensure(mlflow, name)
    made = mlflow.create_logged_model(
        run.info.experiment_id, name=name, source_run_id=run_id, tags=tags, model_type="instruction"
    )
    with temporary.folder() as folder:
        loadable.write(folder / "model", root, model, model_id=made.model_id, run_id=run_id)
        mlflow.log_model_artifacts(made.model_id, str(folder / "model"))
    mlflow.finalize_logged_model(made.model_id, "READY")
    # Not models:/ID: a sqlite store looks that up at MLflow's global address, which need not be the client's (3.17).
    source, described = made.artifact_location, _description(run)
    return Version.of(
        mlflow.create_model_version(
            name, source, run_id, tags, description=described, await_creation_for=0, model_id=made.model_id
        )
    )


def _ensure(mlflow: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        mlflow.create_registered_model(
            name,
            description="The fine-tuned models of this profile. The weights are in DVC. `candidate` is the newest run "
            "that has succeeded; `champion` moves by `python -m flows.promote` alone.",
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _description(run: Any) -> str:
    """The score first: the page cuts it in its table of versions."""
    mean, low, high = (run.data.metrics.get(name) for name in _SCORE)
    interval = "" if low is None or high is None else f" [{low:.1f}, {high:.1f}]"
    judge = run.data.tags.get("judge.model") or run.data.tags.get("judge.backend", "unknown")
    name = str(run.info.run_name)
    return f"no score: {name}" if mean is None else f"{mean:z.1f} of 100{interval}: {name}, judge {judge}"


def _model_in(root: Path) -> Output | None:
    """The fine-tuned model that the dvc.lock of a folder names."""
    entry = lock.entries(root).get("finetune")
    if entry is None:
        return None
    outs = lock.outputs_in({"stages": {"finetune": entry}}, "finetune", name=str(lock.LOCK), fix="dvc repro finetune")
    return next((one for one in outs if one.path == TUNED_MODEL and one.is_folder), None)


def _search(mlflow: MlflowClient, name: str, tag: str, value: str) -> list[Version]:
    """The versions of a registered model with a tag, the newest first."""
    found = mlflow.search_model_versions(f"name = '{name}' and tags.`{tag}` = '{value}'")
    return sorted(map(Version.of, found), key=lambda one: int(one.number), reverse=True)


def with_alias(root: Path, name: str, alias: str) -> Version | None:
    """The version of a registered model with an alias; None without one.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        name: name of the registered model (`name_of`).
        alias: the alias.

    Raises:
        ServiceUnavailable: MLflow cannot be asked.
    """
    with lookup.asked(root):
        from mlflow.exceptions import MlflowException

        try:
            return Version.of(mlflow_access.client(root).get_model_version_by_alias(name, alias))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise


def of_results(root: Path, profile: str, digest: str) -> Version | None:
    """The newest version of a profile's registered model with the results that a run's tag names; None without one.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        profile: the profile.
        digest: the run's tag `published.TAG`.

    Raises:
        ServiceUnavailable: MLflow cannot be asked.
    """
    with lookup.asked(root):
        return next(iter(_search(mlflow_access.client(root), name_of(profile), published.TAG, digest)), None)


def tag(root: Path, version: Version, tags: Mapping[str, str]) -> None:
    """Tag a version; arguments and errors as `with_alias`."""
    with lookup.asked(root):
        client = mlflow_access.client(root)
        for name, value in tags.items():
            client.set_model_version_tag(version.name, version.number, name, value)


def crown(root: Path, version: Version) -> None:
    """Give a version the alias champion, which the one before loses; arguments and errors as `with_alias`."""
    with lookup.asked(root):
        mlflow_access.client(root).set_registered_model_alias(version.name, CHAMPION, version.number)
