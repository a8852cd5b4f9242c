"""finetune: the downloaded GPT-2, trained on the train rows and validated on the val rows.

Reads artifacts/tokenize/{train,val}.jsonl and artifacts/download/. Writes under artifacts/finetune/: model/ (what
`transformers` loads, with the tokenizer and the prompt style), history.jsonl (a line a step), samples.jsonl (an answer
after each epoch), metrics.json, loss.csv and loss.png.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import TYPE_CHECKING, Any

from stages.common import closure, environment, gpu, params, paths, program, signals, summary, tracking
from stages.common.console import progress, say
from stages.common.errors import DataError
from stages.common.files import atomic_folder, read_json, sha256, sweep, write_json, write_jsonl
from stages.common.params import Finetune, Lora
from stages.common.records import Encoded, read_records
from stages.common.tracking import mirror
from stages.sft.encoding import Format

if TYPE_CHECKING:
    from stages.gpt2.model import GPT2
    from stages.gpt2.tokenizer import Tokenizer
    from stages.sft.checkpoint import Checkpoints
    from stages.sft.progress import Progress, StepRecord
    from stages.sft.team import Team

TOKENIZE = "dvc repro tokenize"
DOWNLOAD = "dvc repro --force download"
SPLITS = ("train", "val")
#: What the trained weights depend on besides the recipe: a checkpoint is of no use to a run with others.
INPUTS = (
    paths.tokens_file("train"),
    paths.tokens_file("val"),
    paths.TOKENS_FORMAT,
    paths.BASE_MODEL / "config.json",
    paths.BASE_MODEL / "model.safetensors",
)
#: The longest sample answer after an epoch; it is for a look, and no result rests on it.
SAMPLE_TOKENS = 64


def main() -> None:
    """Run the stage, on GPUs of its own where there are some: in this process, or in as many as the recipe says."""
    recipe = params.load().finetune
    place = environment.worker()
    if place is not None:
        with tracking.stage("finetune") if place[0] == 0 else contextlib.nullcontext(None) as run:
            _in_a_team(recipe, run)
    elif recipe.devices > 1:
        with gpu.lease(recipe.devices) as cards:
            from stages.sft import launch

            launch.run("stages.finetune", recipe.devices, gpus=bool(cards))
    else:
        with gpu.lease(), tracking.stage("finetune") as run:
            finetune(recipe, run)


def _in_a_team(recipe: Finetune, run: tracking.StageRun | None) -> None:
    """Train as one of the processes that torchrun has started."""
    if (launcher := os.environ.get("PIPELINE_LAUNCHER")) is not None:
        signals.end_with_parent(int(launcher))
    from stages.gpt2 import runtime
    from stages.sft import team

    runtime.prepare()
    with team.together():
        member = team.join(recipe.devices, sharded=recipe.parallel == "fsdp")
        try:
            finetune(recipe, run, member)
        finally:
            team.leave()


def finetune(recipe: Finetune, run: tracking.StageRun | None, team: Team | None = None) -> None:
    """Train, report as it goes, and write what the stage promises.

    Args:
        recipe: the section of params.yaml.
        run: what to log to; None in a process that does not lead its team.
        team: the processes that train together; None for this one alone.
    """
    # torch looks for GPUs when it is first used, so it is imported once the lease has said which there are.
    from stages.gpt2 import runtime, weights
    from stages.gpt2.tokenizer import Tokenizer
    from stages.sft import memory, trainer
    from stages.sft.team import ALONE

    team = team or ALONE
    form = Format.model_validate(read_json(paths.TOKENS_FORMAT, made_by=TOKENIZE))
    rows = {split: list(read_records(paths.tokens_file(split), Encoded, made_by=TOKENIZE)) for split in SPLITS}
    tokenizer = Tokenizer(paths.TOKENIZER)
    device = runtime.prepare()
    dtype = runtime.dtype_for(recipe.precision, device)
    sizes = weights.read_config(paths.BASE_MODEL / weights.CONFIG, made_by=DOWNLOAD)
    longest = max(len(row.ids) - 1 for row in (*rows["train"], *rows["val"]))
    if longest > sizes.n_positions:
        raise DataError(f"{paths.TOKENS}: a row of {longest} tokens; the model takes {sizes.n_positions}", TOKENIZE)
    steps = trainer.planned_steps(len(rows["train"]), recipe)
    demand = memory.Demand(
        sizes,
        rows["train"],
        recipe,
        form.loss_on,
        steps=steps,
        dtype=dtype,
        device=device,
        there=memory.available(device) // (team.size if device.type == "cpu" else 1),
        team=team,
    )
    say(str(demand))
    foreseen = memory.taken(device) + demand.wanted.total
    with demand.explained():
        model = weights.load(paths.BASE_MODEL, made_by=DOWNLOAD, device=team.home(device))
        _train(recipe, run, model, form, rows, tokenizer, steps, foreseen, team)


def _train(
    recipe: Finetune,
    run: tracking.StageRun | None,
    model: GPT2,
    form: Format,
    rows: dict[str, list[Encoded]],
    tokenizer: Tokenizer,
    steps: int,
    estimated_memory: int,
    team: Team,
) -> None:
    """Train a model from its last checkpoint or from the beginning, and write it."""
    from stages.gpt2 import runtime
    from stages.sft import account, ledger, lora, memory, meter, trainer

    device = team.workplace(model)
    dtype = runtime.dtype_for(recipe.precision, device)
    facts = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "precision": runtime.name_of(dtype),
        "rows_train": len(rows["train"]),
        "rows_val": len(rows["val"]),
    }
    if recipe.lora:
        lora.attach(model, recipe.lora, recipe.seed)
        facts["trained_parameters"] = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    say(
        f"{facts['parameters']:,} parameters, {facts['rows_train']} train rows, {steps} steps, "
        f"{facts['precision']} on {device.type}"
        + (f", {team.size} processes ({recipe.parallel})" if team.size > 1 else "")
    )
    clock = meter.Meter(device)
    costs = account.Account(
        ledger.plan(
            rows["train"],
            rows["val"],
            recipe,
            model.config,
            form.loss_on,
            steps=steps,
            evaluation_batch=trainer.EVALUATION_BATCH,
            dtype=dtype,
            processes=team.size,
        ),
        clock,
        peak=meter.matmul_rate(device, dtype) * team.size,
        say=say,
    )
    checkpoints = _checkpoints(recipe, model, f"{facts['precision']} on {device.type}")
    with (
        checkpoints if team.leads else contextlib.nullcontext(),
        progress(total=steps, unit="step", what="finetune") as bar,
    ):

        def on_step(record: StepRecord) -> None:
            if record.step:
                clock.apart["checkpoints"] = checkpoints.spent
                costs.step(record.step)
            assert run
            run.log_metrics(_tracked(record), step=record.step)
            bar.update(record.step - bar.n)
            if record.val_loss is not None:
                train_loss = "" if record.train_loss is None else f"train loss {record.train_loss:.3f}, "
                say(f"step {record.step}/{steps}: {train_loss}validation loss {record.val_loss:.3f}")

        trained = trainer.fit(
            model,
            rows["train"],
            rows["val"],
            recipe,
            loss_on=form.loss_on,
            dtype=dtype,
            on_step=on_step,
            on_epoch=clock.timed("samples", lambda epoch: _sample(epoch, model, rows["val"][0], tokenizer)),
            checkpoints=checkpoints,
            meter=clock,
            team=team,
        )
        if not team.leads:
            return
        _write(model, tokenizer, form, trained, facts, recipe.lora)
        assert run
        where = {"device": device.type, "precision": facts["precision"]}
        entry = costs.entry(peak_memory_bytes=memory.peak(device), estimated_memory_bytes=estimated_memory)
        _account(where | entry, run, trained.step)
        checkpoints.clear()


def _checkpoints(recipe: Finetune, model: GPT2, arithmetic: str) -> Checkpoints:
    """Where this very run is saved, once it is told how much disk that takes.

    Raises:
        NoSpace: there is no room even for the trained model.
    """
    from stages.sft import checkpoint, identity, memory, room

    key = identity.run_key(recipe.model_dump_json(), arithmetic, *closure.code_of("finetune"), *INPUTS)
    folder = paths.CACHE / "finetune" / key
    sweep(paths.TUNED_MODEL)  # what a killed run has left of it
    weights = list(model.parameters())
    there = room.Room.of(
        folder,
        paths.TUNED_MODEL,
        checkpoint=room.state_bytes(sum(one.numel() for one in weights if one.requires_grad), recipe),
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
            f"{memory.size(room.used(*others))}; rm -r those not needed"
        )
    return found


def _sample(epoch: int, model: GPT2, row: Encoded, tokenizer: Tokenizer) -> dict[str, Any]:
    """The model's answer to a validation row, as a line of samples.jsonl."""
    from stages.gpt2 import decoding
    from stages.gpt2.tokenizer import END_OF_TEXT
    from stages.sft.encoding import answer_text

    prompt = row.ids[: row.prompt_length]
    answers = decoding.generate(model, [prompt], max_new_tokens=SAMPLE_TOKENS, end_of_text=END_OF_TEXT, batch_size=1)
    text = answer_text(next(answers)[1].ids, tokenizer)
    say(f"epoch {epoch}, an answer to validation row {row.id}: {text!r}")
    return {"epoch": epoch, "id": row.id, "text": text}


def _write(
    model: GPT2,
    tokenizer: Tokenizer,
    form: Format,
    trained: Progress,
    facts: dict[str, Any],
    low_rank: Lora | None,
) -> None:
    """Write the model and what there is to tell of its training."""
    from stages.gpt2 import weights
    from stages.sft import lora, prompt, report

    with atomic_folder(paths.TUNED_MODEL) as folder:
        if low_rank:
            lora.save_adapter(lora.adapter_tensors(model), low_rank, folder)
            lora.merge(model)
        weights.save(model, folder)
        tokenizer.save_for_transformers(folder)
        prompt.save_style(form.style, folder)
    history = trained.history
    write_jsonl(paths.HISTORY, ({k: v for k, v in dataclasses.asdict(r).items() if v is not None} for r in history))
    write_jsonl(paths.SAMPLES, trained.samples)
    report.write_csv(history, paths.LOSS_CSV)
    report.draw(history, paths.LOSS_PLOT, title=f"Fine-tuning on {facts['rows_train']} rows")
    metrics = facts | report.metrics(history) | {"kept_step": trained.kept_step}
    write_json(paths.FINETUNE_METRICS, metrics)
    if trained.kept_step != metrics["steps"]:
        say(f"stopped early at step {metrics['steps']}; the weights kept are those of step {trained.kept_step}")
    say(f"validation loss {metrics['val_loss_before']:.3f} → {metrics['val_loss']:.3f}; the model: {paths.TUNED_MODEL}")


def _account(entry: dict[str, Any], run: tracking.StageRun, step: int) -> None:
    """Keep and tell what the training has cost, where no result of the stage depends on it."""
    write_json(paths.LEDGER, {"history": sha256(paths.HISTORY)} | entry)
    run.log_metrics({f"cost/{name}": value for name, value in entry.items() if isinstance(value, int | float)}, step)
    for line in summary.costs(entry):
        say(line)


def _tracked(record: StepRecord) -> dict[str, float]:
    """A step's figures under the names that MLflow shows."""
    values = {name: getattr(record, field) for field, name in mirror.CURVES.items()}
    return {name: float(value) for name, value in values.items() if value is not None}


if __name__ == "__main__":
    program.run("finetune", main)
