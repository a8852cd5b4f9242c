"""What a finished fine-tuning writes: the model, history.jsonl, loss.csv and metrics.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stages.common.files import atomic_file, atomic_folder, write_jsonl
from stages.common.metrics.finetune import FinetuneMetrics
from stages.common.records import write_metrics
from stages.common.results.download import BASE_MODEL
from stages.common.results.finetune import FINETUNE_METRICS, HISTORY, LOSS_CSV, TUNED_MODEL, StepRecord
from stages.finetune import card, for_transformers, lora
from stages.finetune.progress import Progress, best_evaluation
from stages.finetune.training_run import Run
from stages.gpt2 import runtime, weights
from stages.gpt2.model import GPT2
from stages.gpt2.tokenizer import Tokenizer
from stages.prompts.prompt import PromptStyle


def write(run: Run, style: PromptStyle, model: GPT2, tokenizer: Tokenizer, trained: Progress) -> FinetuneMetrics:
    """Write the model and the figures of its training.

    Args:
        run: what was trained how, and on what.
        style: the prompt style of the rows.
        model: the trained model; low-rank updates are merged into it.
        tokenizer: the model's tokenizer.
        trained: what the training tells.

    Returns:
        What metrics.json holds.
    """
    updates = {"trained_parameters": parameters(model, trained=True)} if run.recipe.lora else {}
    with atomic_folder(TUNED_MODEL) as folder:
        if run.recipe.lora:
            lora.save_adapter(lora.adapter_tensors(model), run.recipe.lora, folder, base=str(BASE_MODEL))
            lora.merge(model)
        metrics = _metrics(run, trained, parameters(model), updates)
        weights.save(model, folder)
        for_transformers.write(tokenizer, style, folder, context=model.config.n_positions)
        with atomic_file(folder / card.CARD) as stream:
            config = weights.config_json(model.config)
            stream.write(card.text(config, style, run.recipe.model_dump(), metrics))
    write_jsonl(HISTORY, (record.model_dump(exclude_none=True) for record in trained.history))
    write_losses(trained.history, LOSS_CSV)
    write_metrics(FINETUNE_METRICS, metrics)
    return metrics


def parameters(model: GPT2, *, trained: bool = False) -> int:
    """How many parameters a model has, or how many of them are trained."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad or not trained)


def write_losses(history: Sequence[StepRecord], path: Path) -> None:
    """The losses by step, for `dvc plots`: columns step, train_loss, val_loss; empty where not measured."""
    with atomic_file(path) as stream:
        stream.write("step,train_loss,val_loss\n")
        for record in history:
            cells = ("" if loss is None else f"{loss:.6f}" for loss in (record.train_loss, record.val_loss))
            stream.write(f"{record.step},{','.join(cells)}\n")


def _metrics(run: Run, trained: Progress, count: int, updates: dict[str, int]) -> FinetuneMetrics:
    """The figures of a finished run. The best loss is the lowest of a step: the untrained model's does not count."""
    losses = {record.step: record.val_loss for record in trained.history if record.val_loss is not None}
    best, _ = best_evaluation(trained.history)
    last = trained.history[-1]
    assert trained.kept_step is not None
    return FinetuneMetrics(
        parameters=count,
        precision=runtime.name_of(run.compute.dtype),
        rows_train=len(run.train),
        rows_val=len(run.val),
        **updates,
        steps=last.step,
        epochs=last.epoch,
        tokens_seen=last.tokens_seen,
        train_loss=last.train_loss,
        val_loss_before=losses[0],
        val_loss=losses[trained.kept_step],
        last_val_loss=losses[last.step],
        best_val_loss=losses[best.step],
        best_step=best.step,
        kept_step=trained.kept_step,
    )
