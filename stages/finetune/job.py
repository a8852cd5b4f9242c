"""The work of the stage finetune: from its inputs to a trained model and its figures."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from stages.common import paths
from stages.common.errors import ConfigError, DataError
from stages.common.files import read_json, sha256, sweep
from stages.common.metrics.finetune import FinetuneMetrics
from stages.common.plurals import counted
from stages.common.records import Precision, write_metrics
from stages.common.results.download import BASE_MODEL, TOKENIZER
from stages.common.results.finetune import HISTORY, TUNED_MODEL, StepRecord
from stages.common.results.tokenize import TOKENS_FOLDER, TOKENS_FORMAT, tokens_file
from stages.common.token_files import TokenRows, lengths_of
from stages.finetune import checkpoint, launch, lora, outputs, steps, trainer
from stages.finetune import team as teams
from stages.finetune.checkpoint import Checkpoints
from stages.finetune.costs import disk, memory, work
from stages.finetune.costs.clock import Clock, matmul_rate
from stages.finetune.costs.ledger import Ledger
from stages.finetune.team import ALONE, Team
from stages.finetune.training_run import Run
from stages.gpt2 import products, runtime, weights
from stages.gpt2.model import GPT2, GPT2Config
from stages.gpt2.runtime import Compute
from stages.gpt2.tokenizer import Tokenizer
from stages.params.finetune import Finetune
from stages.prompts.encoding import Format
from stages.prompts.prompt import PromptStyle
from stages.running import bookkeeping, dvc_cache, environment, held, measured, signals
from stages.running.code_of import code_of
from stages.running.console import progress, say, size
from stages.running.costs import TRAINING_COSTS, TrainingCosts
from stages.running.run_key import run_key
from stages.running.summary_parts.training import cost_lines
from stages.running.tracking import live, metric_names, tracker

TOKENIZE = "dvc repro tokenize"
DOWNLOAD = "dvc repro --force download"
#: What the trained weights depend on besides the recipe: a checkpoint is of no use to a run with others.
INPUTS = (
    tokens_file("train"),
    tokens_file("val"),
    TOKENS_FORMAT,
    BASE_MODEL / "config.json",
    BASE_MODEL / "model.safetensors",
)


@dataclass(frozen=True)
class Job:
    """A run, and what it is told with and written with.

    Args:
        run: what is trained how, and on what.
        plan: the work of its steps.
        style: the prompt style of the rows.
        tokenizer: the model's tokenizer.
        tracked: what to log to; None in a process whose rank is not 0.
    """

    run: Run
    plan: work.Plan
    style: PromptStyle
    tokenizer: Tokenizer
    tracked: live.StageRun | None


def run(recipe: Finetune, gpus: int) -> None:
    """Train in this process, or in as many as the recipe says.

    Args:
        recipe: the section of params.yaml.
        gpus: number of GPUs that the lease has given.
    """
    worker = environment.worker()
    if worker is not None:
        with tracker.stage("finetune") if worker.rank == 0 else contextlib.nullcontext(None) as tracked:
            finished = _as_worker(recipe, tracked)
        if finished is None or launch.hand_over(finished):
            return
    elif recipe.devices > 1:
        finished = launch.run("stages.finetune", recipe.devices, gpus=gpus > 0)
    else:
        with tracker.stage("finetune") as tracked:
            finished = finetune(recipe, tracked)
    # As late as can be. If something has changed the stage fails, and goes on from there once that is put back.
    if finished is not None and not held.changed():
        checkpoint.remove(finished)


def _as_worker(recipe: Finetune, tracked: live.StageRun | None) -> Path | None:
    """Train as one of the processes that torchrun has started; what is returned is that of `finetune`."""
    if (launcher := os.environ.get(teams.LAUNCHER_VARIABLE)) is not None:
        signals.end_with_parent(int(launcher))
    runtime.prepare()
    with teams.together():
        finished = finetune(recipe, tracked, teams.join(recipe.devices, sharded=recipe.parallel == "fsdp"))
        teams.leave()  # a process that fails ends without: the others may not answer any more
    return finished


def finetune(recipe: Finetune, tracked: live.StageRun | None, team: Team = ALONE) -> Path | None:
    """Train, report as it goes, and write what the stage promises.

    Args:
        recipe: the section of params.yaml.
        tracked: what to log to; None in a process whose rank is not 0.
        team: the processes that train together.

    Returns:
        The folder of the run's checkpoints, which are to be removed if the stage succeeds; None where they stay, or are
        another process's.
    """
    made = Format.model_validate(read_json(TOKENS_FORMAT, made_by=TOKENIZE))
    train, val = (TokenRows(tokens_file(split), made_by=TOKENIZE) for split in ("train", "val"))
    device = runtime.prepare()
    sizes = weights.read_config(BASE_MODEL / weights.CONFIG, made_by=DOWNLOAD)
    compute = Compute(device, runtime.dtype_for(_precision(recipe, device, sizes.n_embd, team), device))
    run = Run(recipe, train, val, made.loss_on, compute, team)
    _check(run, sizes)

    free = memory.available(device) // (team.size if device.type == "cpu" else 1)
    peaks = memory.Peaks(sizes, run)
    plan = work.plan(run, sizes, seen=peaks.add)
    demand = memory.Demand(sizes, run, free, peaks)
    say(str(demand))
    estimated = memory.taken(device) + demand.wanted.total
    with demand.explained():
        model = weights.load(BASE_MODEL, made_by=DOWNLOAD, device=team.home(device))
        return _train(Job(run, plan, made.style, Tokenizer(TOKENIZER), tracked), model, estimated_memory=estimated)


def _precision(recipe: Finetune, device: runtime.Device, width: int, team: Team) -> Precision:
    """The dtype of matrix products by its name; the process of rank 0 chooses it for all."""
    in_bf16 = team.leads and products.chosen(recipe.precision, device, width, measured.once) == "bf16"
    return "bf16" if team.told(int(in_bf16), device) else "fp32"


def _check(run: Run, sizes: GPT2Config) -> None:
    """Refuse rows and recipes that do not fit the model or each other.

    Raises:
        DataError: a row is longer than the model takes.
        ConfigError: the warm-up would be longer than the run.
    """
    longest = max(int(lengths_of(rows).max(initial=1)) for rows in (run.train, run.val)) - 1
    if longest > sizes.n_positions:
        raise DataError(f"{TOKENS_FOLDER}: a row of {longest} tokens; the model takes {sizes.n_positions}", TOKENIZE)
    if run.recipe.warmup_steps >= run.steps:
        raise ConfigError(
            f"finetune.warmup_steps is {run.recipe.warmup_steps}, and the run has {counted(run.steps, 'step')}: "
            "it would end before it has reached finetune.learning_rate",
            f"set finetune.warmup_steps to less than {run.steps} in params.yaml, or train longer",
        )


def _train(job: Job, model: GPT2, *, estimated_memory: int) -> Path | None:
    """Train a model from its last checkpoint or from the beginning, and write it; returns as `finetune`."""
    run = job.run
    _prepare(run, model)
    clock = Clock(run.compute.device)
    ledger = Ledger(job.plan, clock, measure=lambda: run.team.size * matmul_rate(run.compute), say=say)
    checkpoints = _checkpoints(run, model)
    with (
        checkpoints if run.team.leads else contextlib.nullcontext(),
        progress(total=run.steps, unit="step", what="finetune") as bar,
    ):

        def on_step(record: StepRecord) -> None:
            if record.step:
                clock.apart["checkpoints"] = checkpoints.spent
                ledger.step(record.step)
            _tell(job, record)
            bar.update(record.step - bar.n)

        trained = trainer.fit(model, run, on_step=on_step, checkpoints=checkpoints, clock=clock, refused=held.changed)
        if not run.team.leads:
            return None
        _tell_result(run, outputs.write(run, job.style, model, job.tokenizer, trained))
        costs = ledger.costs(
            history=sha256(HISTORY),
            device=run.compute.device.type,
            precision=runtime.name_of(run.compute.dtype),
            peak_memory_bytes=memory.peak(run.compute.device),
            estimated_memory_bytes=estimated_memory,
            steps_before=checkpoints.resumed.steps if checkpoints.resumed else 0,
            seconds_before=checkpoints.resumed.seconds if checkpoints.resumed else None,
        )
        _keep_costs(costs)
        if short := dvc_cache.shortage(TUNED_MODEL, disk.used(TUNED_MODEL), freed=checkpoints.used):
            stays = "The last checkpoint stays. " if checkpoints.used else ""
            say(f"{short}. {stays}If DVC fails, free some space and run: dvc commit -f finetune")
            return None
        return checkpoints.folder if checkpoints.held else None


def _prepare(run: Run, model: GPT2) -> None:
    """Say what is trained on what. With LoRA the model gets its updates here."""
    compute, team = run.compute, run.team
    say(
        f"{outputs.parameters(model):,} parameters, {counted(len(run.train), 'train row')}, "
        f"{counted(run.steps, 'step')}, "
        f"{runtime.name_of(compute.dtype)} on {compute.device.type}"
        + (f", {team.size} processes ({run.recipe.parallel})" if team.size > 1 else "")
    )
    if left := steps.rows_left_out(len(run.train), run.recipe):
        which = "other ones each time, since they do not fill a batch (finetune.drop_last)"
        say(f"{counted(left, 'row is', 'rows are')} left out of each epoch, {which}")
    if run.recipe.lora:
        lora.attach(model, run.recipe.lora, run.recipe.seed)


def _checkpoints(run: Run, model: GPT2) -> Checkpoints:
    """Where this very run is saved, once it is told how much disk that takes.

    Raises:
        NoSpace: there is no room even for the trained model.
    """
    arithmetic = f"{runtime.name_of(run.compute.dtype)} on {run.compute.device.type}"
    key = run_key(run.recipe.model_dump_json(), arithmetic, *code_of("finetune"), *INPUTS)
    folder = paths.CACHE / "finetune" / key
    sweep(TUNED_MODEL)  # what a killed run has left of it
    state = disk.state_bytes(outputs.parameters(model, trained=True), run.recipe)
    model_size = 4 * outputs.parameters(model)

    def room_now() -> disk.Room:
        copy = dvc_cache.copy_of(TUNED_MODEL)
        kept = checkpoint.KEPT + 1
        return disk.Room.of(folder, TUNED_MODEL, checkpoint=state, at_once=kept, model=model_size, copy=copy)

    room = room_now()
    say(str(room))
    room.check()
    found = Checkpoints(
        folder,
        seconds=environment.seconds("PIPELINE_CHECKPOINT_SECONDS", 30.0),
        say=say,
        size=room.checkpoint,
        periodic=room.enough,
        at_end=lambda: room_now().lacking() is not None,
    )
    if others := found.others():
        say(
            f"{folder.parent} has checkpoints of {counted(len(others), 'earlier run')} that did not finish, "
            f"{size(disk.used(*others))}; those that are not needed can go, such as by rm -r {others[0]}"
        )
    return found


def _tell(job: Job, record: StepRecord) -> None:
    """Log a step, and say its losses if it was evaluated."""
    assert job.tracked
    job.tracked.log_metrics(metric_names.of_step(record), step=record.step)
    if record.val_loss is not None:
        train_loss = "" if record.train_loss is None else f"train loss {record.train_loss:.3f}, "
        say(f"step {record.step}/{job.run.steps}: {train_loss}validation loss {record.val_loss:.3f}")


def _tell_result(run: Run, metrics: FinetuneMetrics) -> None:
    """Say what has come out of the training."""
    if metrics.steps < run.steps:
        say(f"stopped early, after step {metrics.steps} of {run.steps}")
    if metrics.kept_step != metrics.steps:
        say(
            f"the weights kept are the best, those of step {metrics.kept_step}; "
            f"validation loss at the end {metrics.last_val_loss:.3f}"
        )
    say(f"validation loss {metrics.val_loss_before:.3f} → {metrics.val_loss:.3f}; the model: {TUNED_MODEL}")


def _keep_costs(costs: TrainingCosts) -> None:
    """Keep and tell what the training has cost, where no result of the stage depends on it."""
    with bookkeeping.optional(TRAINING_COSTS):
        write_metrics(TRAINING_COSTS, costs)
    for line in cost_lines(costs):
        say(line)
