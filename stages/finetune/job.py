"""finetune: the downloaded GPT-2, trained on the train rows and validated on the val rows.

Reads artifacts/tokenize/{train,val}.jsonl and artifacts/download/. Writes under artifacts/finetune/: model/ (what
`transformers` loads, with the tokenizer and the prompt style; with LoRA the adapter too), history.jsonl (a line a
step), samples.jsonl (an answer after each epoch, the last one by the model that is kept), metrics.json, loss.csv and
loss.png.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from dataclasses import dataclass
from typing import Any

from stages.common import paths
from stages.common.errors import ConfigError, DataError
from stages.common.files import atomic_folder, read_json, sha256, sweep, write_json, write_jsonl
from stages.common.records import read_records
from stages.common.results.download import BASE_MODEL, TOKENIZER
from stages.common.results.finetune import FINETUNE_METRICS, HISTORY, LOSS_CSV, LOSS_PLOT, SAMPLES, TUNED_MODEL
from stages.common.results.tokenize import TOKENS_FOLDER, TOKENS_FORMAT, Encoded, tokens_file
from stages.finetune import checkpoint, curves, launch, lora, schedule, trainer
from stages.finetune import team as teams
from stages.finetune.checkpoint import Checkpoints
from stages.finetune.costs import disk, ledger, memory, work
from stages.finetune.costs.clock import Meter, matmul_rate
from stages.finetune.costs.ledger import Account
from stages.finetune.progress import Progress, StepRecord
from stages.finetune.team import ALONE, Team
from stages.gpt2 import decoding, runtime, weights
from stages.gpt2.model import GPT2
from stages.gpt2.runtime import Place
from stages.gpt2.tokenizer import END_OF_TEXT, Tokenizer
from stages.params.finetune import Finetune
from stages.running import environment, out_of_memory, signals, summary
from stages.running.code_of import code_of
from stages.running.console import progress, say
from stages.running.costs import TRAINING_COSTS
from stages.running.run_key import run_key
from stages.running.tracking import figures, tracker
from stages.tokenize import prompt
from stages.tokenize.encoding import Format, answer_text

TOKENIZE = "dvc repro tokenize"
DOWNLOAD = "dvc repro --force download"
SPLITS = ("train", "val")
#: What the trained weights depend on besides the recipe: a checkpoint is of no use to a run with others.
INPUTS = (
    tokens_file("train"),
    tokens_file("val"),
    TOKENS_FORMAT,
    BASE_MODEL / "config.json",
    BASE_MODEL / "model.safetensors",
)
#: The longest sample answer after an epoch; it is for a look, and no result rests on it.
SAMPLE_TOKENS = 64


def run(recipe: Finetune, gpus: int) -> None:
    """Train in this process, or in as many as the recipe says.

    Args:
        recipe: the section of params.yaml.
        gpus: how many GPUs the lease has given.
    """
    place = environment.worker()
    if place is not None:
        with tracker.stage("finetune") if place[0] == 0 else contextlib.nullcontext(None) as run:
            _in_a_team(recipe, run)
    elif recipe.devices > 1:
        launch.run("stages.finetune", recipe.devices, gpus=gpus > 0)
    else:
        with tracker.stage("finetune") as run:
            finetune(recipe, run)


def _in_a_team(recipe: Finetune, run: tracker.StageRun | None) -> None:
    """Train as one of the processes that torchrun has started."""
    if (launcher := os.environ.get(teams.LAUNCHER_VARIABLE)) is not None:
        signals.end_with_parent(int(launcher))
    runtime.prepare()
    with teams.together():
        finetune(recipe, run, teams.join(recipe.devices, sharded=recipe.parallel == "fsdp"))
        teams.leave()  # a process that fails ends without: the others may not answer any more


@dataclass(frozen=True)
class Job:
    """What one fine-tuning is about.

    Args:
        recipe: the section of params.yaml.
        run: what to log to; None in a process that does not lead its team.
        team: the processes that train together.
        form: how the rows were made.
        rows: by split.
        steps: that the recipe makes from them.
        place: where it computes, and in which dtype.
    """

    recipe: Finetune
    run: tracker.StageRun | None
    team: Team
    form: Format
    rows: dict[str, list[Encoded]]
    steps: int
    place: Place


def finetune(recipe: Finetune, run: tracker.StageRun | None, team: Team | None = None) -> None:
    """Train, report as it goes, and write what the stage promises.

    Args:
        recipe: the section of params.yaml.
        run: what to log to; None in a process that does not lead its team.
        team: the processes that train together; None for this one alone.
    """
    team = team or ALONE
    form = Format.model_validate(read_json(TOKENS_FORMAT, made_by=TOKENIZE))
    rows = {split: list(read_records(tokens_file(split), Encoded, made_by=TOKENIZE)) for split in SPLITS}
    device = runtime.prepare()
    sizes = weights.read_config(BASE_MODEL / weights.CONFIG, made_by=DOWNLOAD)
    longest = max(len(row.ids) - 1 for row in (*rows["train"], *rows["val"]))
    if longest > sizes.n_positions:
        raise DataError(f"{TOKENS_FOLDER}: a row of {longest} tokens; the model takes {sizes.n_positions}", TOKENIZE)
    steps = schedule.planned_steps(len(rows["train"]), recipe)
    if recipe.warmup_steps >= steps:
        raise ConfigError(
            f"finetune.warmup_steps is {recipe.warmup_steps}, and the run has {steps} steps: it would end before it "
            "has reached finetune.learning_rate",
            f"set finetune.warmup_steps to less than {steps}, or train longer, in params.yaml",
        )
    place = Place(device, runtime.dtype_for(recipe.precision, device))
    job = Job(recipe, run, team, form, rows, steps, place)
    demand = memory.Demand(
        sizes,
        rows["train"],
        recipe,
        form.loss_on,
        steps=steps,
        dtype=place.dtype,
        device=device,
        there=memory.available(device) // (team.size if device.type == "cpu" else 1),
        team=team,
        val=rows["val"],
    )
    say(str(demand))
    foreseen = memory.taken(device) + demand.wanted.total
    with demand.explained():
        model = weights.load(BASE_MODEL, made_by=DOWNLOAD, device=team.home(device))
        _train(job, model, estimated_memory=foreseen)


def _train(job: Job, model: GPT2, *, estimated_memory: int) -> None:
    """Train a model from its last checkpoint or from the beginning, and write it."""
    facts = _facts(job, model)
    tokenizer = Tokenizer(TOKENIZER)
    clock = Meter(job.place.device)
    costs = _costs(job, model, clock)
    checkpoints = _checkpoints(job, model)
    with (
        checkpoints if job.team.leads else contextlib.nullcontext(),
        progress(total=job.steps, unit="step", what="finetune") as bar,
    ):

        def on_step(record: StepRecord) -> None:
            if record.step:
                clock.apart["checkpoints"] = checkpoints.spent
                costs.step(record.step)
            _tell(job, record)
            bar.update(record.step - bar.n)

        trained = trainer.fit(
            model,
            job.rows["train"],
            job.rows["val"],
            job.recipe,
            loss_on=job.form.loss_on,
            dtype=job.place.dtype,
            on_step=on_step,
            on_epoch=clock.timed("samples", lambda epoch: _sample(epoch, model, job.rows["val"][0], tokenizer)),
            checkpoints=checkpoints,
            meter=clock,
            team=job.team,
        )
        if not job.team.leads:
            return
        _write(job, model, tokenizer, trained, facts)
        entry = costs.entry(peak_memory_bytes=memory.peak(job.place.device), estimated_memory_bytes=estimated_memory)
        _account(job, entry, trained.step)
        checkpoints.clear()


def _facts(job: Job, model: GPT2) -> dict[str, Any]:
    """What is trained on what, for the metrics, and said. With LoRA the model gets its updates here."""
    facts = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "precision": runtime.name_of(job.place.dtype),
        "rows_train": len(job.rows["train"]),
        "rows_val": len(job.rows["val"]),
    }
    if job.recipe.lora:
        lora.attach(model, job.recipe.lora, job.recipe.seed)
        facts["trained_parameters"] = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    say(
        f"{facts['parameters']:,} parameters, {facts['rows_train']} train rows, {job.steps} steps, "
        f"{facts['precision']} on {job.place.device.type}"
        + (f", {job.team.size} processes ({job.recipe.parallel})" if job.team.size > 1 else "")
    )
    return facts


def _costs(job: Job, model: GPT2, clock: Meter) -> Account:
    """The account of what the run costs, with the time taken by ``clock``."""
    plan = work.plan(
        job.rows["train"],
        job.rows["val"],
        job.recipe,
        model.config,
        job.form.loss_on,
        steps=job.steps,
        evaluation_batch=schedule.EVALUATION_BATCH,
        place=job.place,
        processes=job.team.size,
    )
    return ledger.Account(plan, clock, peak=matmul_rate(job.place.device, job.place.dtype) * job.team.size, say=say)


def _checkpoints(job: Job, model: GPT2) -> Checkpoints:
    """Where this very run is saved, once it is told how much disk that takes.

    Raises:
        NoSpace: there is no room even for the trained model.
    """
    arithmetic = f"{runtime.name_of(job.place.dtype)} on {job.place.device.type}"
    key = run_key(job.recipe.model_dump_json(), arithmetic, *code_of("finetune"), *INPUTS)
    folder = paths.CACHE / "finetune" / key
    sweep(TUNED_MODEL)  # what a killed run has left of it
    weights = list(model.parameters())
    there = disk.Room.of(
        folder,
        TUNED_MODEL,
        checkpoint=disk.state_bytes(sum(one.numel() for one in weights if one.requires_grad), job.recipe),
        at_once=checkpoint.KEPT + 1,
        model=4 * sum(one.numel() for one in weights),
    )
    say(str(there))
    there.check()
    seconds = environment.seconds("PIPELINE_CHECKPOINT_SECONDS", 30.0)
    found = checkpoint.Checkpoints(folder, seconds=seconds, say=say, size=there.checkpoint, periodic=there.enough)
    if others := found.others():
        say(
            f"{folder.parent} has checkpoints of {len(others)} other runs that did not finish, "
            f"{out_of_memory.size(disk.used(*others))}; rm -r those not needed"
        )
    return found


def _tell(job: Job, record: StepRecord) -> None:
    """Log a step, and say its losses if it was evaluated."""
    assert job.run
    job.run.log_metrics(figures.of_step(record), step=record.step)
    if record.val_loss is not None:
        train_loss = "" if record.train_loss is None else f"train loss {record.train_loss:.3f}, "
        say(f"step {record.step}/{job.steps}: {train_loss}validation loss {record.val_loss:.3f}")


def _sample(epoch: int, model: GPT2, row: Encoded, tokenizer: Tokenizer) -> dict[str, Any]:
    """The model's answer to a validation row, as a line of samples.jsonl."""
    prompt = row.ids[: row.prompt_length]
    answers = decoding.generate(model, [prompt], max_new_tokens=SAMPLE_TOKENS, end_of_text=END_OF_TEXT, batch_size=1)
    text = answer_text(next(answers)[1].ids, tokenizer)
    say(f"epoch {epoch}, an answer to validation row {row.id}: {text!r}")
    return {"epoch": epoch, "id": row.id, "text": text}


def _write(job: Job, model: GPT2, tokenizer: Tokenizer, trained: Progress, facts: dict[str, Any]) -> None:
    """Write the model and what there is to tell of its training."""
    with atomic_folder(TUNED_MODEL) as folder:
        if job.recipe.lora:
            lora.save_adapter(lora.adapter_tensors(model), job.recipe.lora, folder, base=str(BASE_MODEL))
            lora.merge(model)
        weights.save(model, folder)
        tokenizer.save_for_transformers(folder)
        prompt.save_style(job.form.style, folder)
    history = trained.history
    write_jsonl(HISTORY, ({k: v for k, v in dataclasses.asdict(r).items() if v is not None} for r in history))
    write_jsonl(SAMPLES, trained.samples)
    curves.write_csv(history, LOSS_CSV)
    curves.draw(history, LOSS_PLOT, title=f"Fine-tuning on {facts['rows_train']} rows")
    metrics = curves.metrics(trained)
    write_json(FINETUNE_METRICS, facts | metrics)
    if trained.step < job.steps:
        say(f"stopped early, after step {trained.step} of {job.steps}")
    if trained.kept_step != trained.step:
        say(
            f"the weights kept are the best, those of step {trained.kept_step}; "
            f"validation loss at the end {metrics['last_val_loss']:.3f}"
        )
    say(f"validation loss {metrics['val_loss_before']:.3f} → {metrics['val_loss']:.3f}; the model: {TUNED_MODEL}")


def _account(job: Job, costs: dict[str, Any], step: int) -> None:
    """Keep and tell what the training has cost, where no result of the stage depends on it."""
    entry = {"device": job.place.device.type, "precision": runtime.name_of(job.place.dtype)} | costs
    write_json(TRAINING_COSTS, {"history": sha256(HISTORY)} | entry)
    assert job.run
    numbers = {f"cost/{name}": value for name, value in entry.items() if isinstance(value, int | float)}
    job.run.log_metrics(numbers, step)
    for line in summary.costs(entry):
        say(line)
