"""The flow `seeds`: one recipe, trained several times with different seeds, and how much their scores differ.

The trainings work one after the other in one copy of the last commit. Of its stages only those run again that another
seed makes stale. Each training is a run of its own in MLflow, a child of one run. What the judge said of each is kept
in .cache/seeds too, in folders that `stages.judge.runs.compare` takes, with MLflow or without it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as this_flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from flows import ahead, dvc_process, folder, profiles, run_page, run_tags, servers_file, workspace
from flows.after_stages import needs_no_model
from flows.command_line import LEAST, MOST
from flows.dvc_cli import stages_in_order
from flows.log_lines import tell_failure
from flows.mlflow_run import mlflow_run, of_prefect_run, why_of
from flows.outcome import kept
from flows.overrides import Choice, FlowOverrides
from flows.pipeline import NAME, NOTHING, Preflight, Profile, giver, prefect_tags
from flows.stage_process import StageFailed, StageResult, Stopped
from flows.stage_task import run_in_order
from stages.common import paths
from stages.common.errors import PipelineError
from stages.common.files import atomic_file
from stages.common.metrics.beside import Further
from stages.common.plurals import counted
from stages.common.printable import printable
from stages.common.records import write_metrics
from stages.common.results.judge import JUDGE_METRICS, VERDICTS
from stages.common.secrecy import hidden
from stages.judge.runs import spread
from stages.judge.runs.spread import Spread
from stages.params import reading
from stages.running import bookkeeping, gpu_users, lock, report, streams, temporary
from stages.running.checks import plan
from stages.running.checks.preflight import VARIABLE
from stages.running.dvc_yaml import PIPELINE
from stages.running.inputs import Begun
from stages.running.tracking import additions, links, metric_names, mlflow_access, origins, tracker
from stages.running.tracking.store import PARENT

#: The value that the trainings differ in.
SEED = "finetune.seed"
#: The folder with what is kept of each group, and how many groups stay there.
_KEPT = paths.CACHE / "seeds"
_MOST_KEPT = 20

#: Trainings where nobody says how many.
USUAL = 5
#: How often the recipe is trained.
Trainings = Annotated[int, Field(ge=LEAST, le=MOST)]


@dataclass
class Group:
    """The trainings of one recipe.

    Args:
        root: the user's repository.
        name: name of the group, which the Prefect run and the MLflow run have too.
        seeds: the seeds, in their order.
        run_id: id of the MLflow run that the trainings are children of; None while tracking is down.
        folders: what is kept of the trainings that have ended, relative to ``root``.
    """

    root: Path
    name: str
    seeds: Sequence[int]
    run_id: str | None = None
    folders: list[Path] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """What is kept of it, relative to ``root``."""
        return _KEPT / self.name

    @property
    def compare(self) -> str:
        """The command that compares it with another group."""
        again = self.name if self.run_id else str(self.folder / "*")
        return f"python -m stages.judge.runs.compare {shlex.quote(again)} vs ANOTHER"

    def keep(self, tree: Path, seed: int) -> None:
        """Keep what a comparison needs of a training, and what `flows.publish` does: all of it or nothing."""
        kept_at = self.folder / f"seed-{seed}"
        made = self.root / self.folder / f".seed-{seed}"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        for file in (VERDICTS, JUDGE_METRICS, lock.LOCK, paths.PARAMS, PIPELINE):
            if (tree / file).is_file():
                (made / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(tree / file, made / file)
        shutil.rmtree(self.root / kept_at, ignore_errors=True)
        made.rename(self.root / kept_at)
        if (tree / VERDICTS).is_file():
            self.folders.append(kept_at)

    def so_far(self) -> str:
        """Where the trainings are that have ended; empty before the first has."""
        if not self.folders:
            return ""
        ended = f"{len(self.folders)} of {counted(len(self.seeds), 'training')} are in {self.folder}"
        return f"{ended} and in DVC's cache, from which a run of the same commit and values takes them"

    def prune(self) -> None:
        """Remove what is kept of the oldest groups."""
        with bookkeeping.optional(_KEPT):
            groups = sorted((self.root / _KEPT).glob("*"), key=lambda path: path.stat().st_mtime)
            for old in groups[:-_MOST_KEPT]:
                shutil.rmtree(old, ignore_errors=True)


@flow(name=NAME)
def seeds(
    trainings: Trainings = USUAL,
    profile: Profile = "current",
    overrides: FlowOverrides = NOTHING,
    force: Choice = False,
    preflight: Preflight = "fail",
) -> State[Any]:
    """Train one recipe several times with different seeds, in folders of their own, and say how much the scores differ.

    Args:
        trainings: How often. The seeds count up from finetune.seed.
        profile: Use the values of params.yaml ("current"), or put those of a file in profiles/ over them.
        overrides: Single values to put over the profile's, such as {"finetune": {"epochs": 3}}.
        force: Run every stage that depends on the seed for each training, and the others once, even if nothing changed.
        preflight: Where something that the runs need is missing, such as the judge: begin nothing ("fail"), or say so
            and run what can be run ("warn").
    """
    return kept(lambda: _seeds(trainings, profile, overrides, force, preflight))


def _seeds(trainings: int, profile: Profile, overrides: FlowOverrides, force: bool, preflight: Preflight) -> State[Any]:
    root = Path.cwd()
    logger = get_run_logger()
    done: list[StageResult] = []
    group: Group | None = None
    try:
        given = overrides.tree()
        run_tags.tell(run_tags.asked(profile, given, trainings))
        folder.check(root, copied=True)
        with _group(root, trainings, profile, given) as group:
            with workspace.isolated(root, profile, given, log=logger.warning, given_as=giver()) as tree:
                ahead.look_in_flow(root, tree, preflight, force=force, log=logger.info)
                every = order = stages_in_order(tree)
                for number, seed in enumerate(group.seeds, start=1):
                    logger.info("training %d of %d, with %s=%d", number, trainings, SEED, seed)
                    _put_seed(tree, seed)
                    with _training(group, tree, seed, order, done, force=force):
                        order = _next(tree, every, seed + 1, force=force) if number < trainings else []
                    group.keep(tree, seed)
            told = _told(group)
            group.prune()
    except (PipelineError, OSError) as found:
        error = streams.as_ours(found)
        so_far = group.so_far() if group else ""
        message = printable(hidden("\n  ".join(filter(None, (str(error), so_far)))))
        tell_failure(logger, message)
        run_page.report_refused(done, message)
        return Failed(message=message, data=StageFailed("seeds", error.exit_code, message))
    except StageFailed as failure:
        if group and (so_far := group.so_far()):
            logger.info("%s", so_far)
        run_page.report_broken(done, failure.stage, "failed", failure.message, failure.retries)
        return Failed(message=failure.message, data=failure)
    except Stopped as stop:
        if group and (so_far := group.so_far()):
            logger.info("%s", so_far)
        run_page.report_stopped(done, stop)
        raise
    finally:
        dvc_process.discard()
    run_page.report_text(told)
    ran = sum(one.outcome == "ran" for one in done if not one.is_import)
    return Completed(
        message=f"{counted(trainings, 'training')}: {counted(ran, 'stage')} ran; the others were done already",
        data=told,
    )


@contextlib.contextmanager
def _group(root: Path, trainings: int, profile: str, overrides: Mapping[str, object]) -> Iterator[Group]:
    """A group whose MLflow run is open for the block; it ends as the block does."""
    os.environ["MLFLOW_TRACKING_URI"] = mlflow_access.uri(root)  # the trainings work in other folders
    name, _ = of_prefect_run()
    with ahead.files_of(root, in_place=False) as commit:
        values = profiles.overlaid(commit, profile, overrides, giver())
        group = Group(root, name, profiles.seeds_of(values, trainings))
        with atomic_file(commit / paths.PARAMS) as stream:
            stream.write(profiles.to_text(values))
        seeds_tag = " ".join(map(str, group.seeds))
        tags = {**prefect_tags(), "seeds": seeds_tag, **_of_commit(root)}
        group.run_id = tracker.create_run(commit, name=name, tags=tags, without=[SEED], repository=root)
    run_page.link(links.page(group.run_id, servers_file.mlflow_address()))
    status: Literal["FINISHED", "FAILED", "KILLED"] = "KILLED"
    why = ""
    try:
        yield group
        status = "FINISHED"
    except Exception as error:
        status, why = "FAILED", why_of(error)
        raise
    except BaseException as end:
        why = why_of(end)
        raise
    finally:
        tracker.end(group.run_id, status, why)


def _put_seed(tree: Path, seed: int) -> None:
    """Put the seed of the next training into params.yaml of the copy; the wrong value of a seed is a ConfigError."""
    text = profiles.to_text(profiles.overlaid(tree, profiles.CURRENT, {SEED: seed}, giver()))
    with atomic_file(tree / paths.PARAMS) as stream:
        stream.write(text)


def _next(tree: Path, order: Sequence[str], seed: int, *, force: bool) -> list[str]:
    """The stages of the next training: those that its seed makes stale. The first one's DVC begins to load.

    To ask DVC of each of the others would take longer than they are long. An error here ends no training.

    Args:
        tree: the copy, in which a training with another seed has run all stages.
        order: all stages and .dvc files.
        seed: the seed.
        force: whether the stages will be forced.
    """
    try:
        values = reading.read_values(tree / paths.PARAMS)
        values["finetune"]["seed"] = seed
        fates = plan.fates(tree, values, in_place=True)
        stale = [name for name in order if fates.get(name, "up to date") != "up to date"]
        if stale:
            dvc_process.prepare(dvc_process.of_stage(stale[0], force=force))
    except (PipelineError, OSError):
        return list(order)  # DVC finds out, stage by stage
    return stale


@contextlib.contextmanager
def _training(
    group: Group, tree: Path, seed: int, order: Sequence[str], done: list[StageResult], *, force: bool
) -> Iterator[None]:
    """Run stages in a copy of the last commit, within an MLflow run that is a child of the group's.

    The block comes after the last stage. Then the results go to MLflow.

    Args:
        group: the group.
        tree: the copy, with the seed in its params.yaml.
        seed: the seed.
        order: names of the stages.
        done: list that gets what each stage did, when it has ended.
        force: whether every one of them runs, even if nothing has changed.

    Raises:
        StageFailed, Stopped: as `flows.stage_task.run_in_order`.
    """
    begun = Begun.of(tree)
    tags = {**prefect_tags(), **({PARENT: group.run_id} if group.run_id else {})}
    name = f"{group.name}-seed-{seed}"
    label = f"seed {seed}: "
    early, page = needs_no_model(tree), None
    with contextlib.ExitStack() as stack, mlflow_run(group.root, tree, tags, begun, name=name, stays=True) as run:
        variables = run.variables | {
            VARIABLE: "off",
            gpu_users.RUN_VARIABLE: str(this_flow_run.name),
            paths.ROOT_VARIABLE: str(group.root),
        }
        ended = run_in_order(order, tree, force=force, variables=variables, begun=begun, label=label)
        for number, result in enumerate(ended, start=1):
            done.append(result)
            run.ran.update({result.stage} if result.outcome == "ran" else ())
            if early and run.id and number == len(order) - 1:
                page = stack.enter_context(report.begun(tree))  # it loads while the judge is at work
        if run.id:  # the page goes into the MLflow run, and the copy of the commit is removed
            page = page or stack.enter_context(report.begun(tree))
            page.go(Further(alone=_alone(group)), made_here=run.has_made)
            run.reports.append(page.made)
        yield


def _alone(group: Group) -> str:
    """Why a training is compared with no other run, for its page: that takes time, and the group says more."""
    count = len(group.seeds)
    why = f"this is one of the {count} trainings of the group {group.name}, and alone says little of the recipe"
    return f"{why}; to compare the group with ANOTHER run or group: {group.compare}"


def _told(group: Group) -> str:
    """A line for each training and what seeds do, which the group's MLflow run gets too.

    Raises:
        PipelineError: there is no table.
    """
    if not group.folders:
        return "There are no scores: the pipeline has no stage judge that leaves verdicts."
    text, found = spread.told([str(folder) for folder in group.folders])
    with bookkeeping.optional(Path("seeds.json")), temporary.folder() as at:
        files = [at / "seeds.json", at / "seeds.txt"]
        write_metrics(files[0], found)
        files[1].write_text(f"{text}\n", encoding="utf-8")
        additions.add(group.run_id, figures_of(found), files, described_as(found))
    return f"{text}\ncompare     {group.compare}"


def figures_of(found: Spread) -> dict[str, float]:
    """What trainings of one recipe have in common, as metrics of the group's MLflow run."""
    figures = {
        metric_names.SEEDS: len(found.trainings),
        metric_names.SEEDS_SCORE: found.mean,
        metric_names.SEEDS_SCORE_LOWER: found.low,
        metric_names.SEEDS_SCORE_UPPER: found.high,
        "seeds/score_sd": found.seeds.sd,
        "seeds/score_sd_beyond_rows": found.seeds.sd_beyond_rows,
        "seeds/detectable": found.detectable,
    }
    return {name: float(value) for name, value in figures.items() if value is not None}


def described_as(found: Spread) -> list[str]:
    """What trainings of one recipe have in common, in words, for the description of the group's MLflow run."""
    ends = "no interval"
    if found.low is not None and found.high is not None:
        ends = f"95 % interval {found.low:z.1f} to {found.high:z.1f} over seeds and instructions"
    seeds = ", ".join(str(one.seed) for one in found.trainings)
    return [
        f"Mean score {found.mean:z.1f} of 100 ({ends}), of {counted(len(found.trainings), 'training')} with "
        f"{SEED} {seeds}. The standard deviation of their means is {found.seeds.sd:.1f} points."
    ]


def _of_commit(root: Path) -> dict[str, str]:
    """The tags of the commit that the trainings are of: their parent is made in a folder that is no repository."""
    return {name: value for name, value in origins.commit_tags(root).items() if name != "git.dirty"}
