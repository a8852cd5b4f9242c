"""TRL's SFTTrainer, with the settings of `benchmarks.huggingface`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset, disable_progress_bars
from transformers import AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

from benchmarks.clock import EVALUATIONS, Clock
from benchmarks.huggingface import IGNORED, adamw, length, load, outcome, targets
from benchmarks.results import Training
from benchmarks.task import Task


def train(task: Task, model_folder: Path, device: str, clock: Clock, *, padding_free: bool) -> Training:
    """The loop that SFTTrainer has."""
    disable_progress_bars()
    model = load(model_folder)
    datasets = datasets_of(task)
    trainer = Measured(
        model=model,
        args=settings(task, model_folder.parent / "trl", device, padding_free=padding_free),
        train_dataset=datasets["train"],
        eval_dataset=datasets["eval"],
        processing_class=AutoTokenizer.from_pretrained(model_folder),
        optimizers=(adamw(model.to(device), task), None),
    )
    trainer.add_callback(Stamp(trainer, clock))
    trainer.train()
    for _ in range(EVALUATIONS):
        with clock.evaluation():
            trainer.evaluate()
    return outcome(clock.result(), model, task, device)


class Measured(SFTTrainer):  # type: ignore[misc]
    """The trainer, which keeps its last step's loss and number of target tokens."""

    def training_step(self, model: Any, inputs: dict[str, Any], *arguments: Any, **named: Any) -> Any:
        """One step."""
        count = targets(inputs)  # before the step, which may change its inputs
        loss = super().training_step(model, inputs, *arguments, **named)
        self.last = loss.detach(), count
        return loss


class Stamp(TrainerCallback):  # type: ignore[misc]
    """Tells a clock of each step of a trainer."""

    def __init__(self, trainer: Measured, clock: Clock) -> None:
        self._trainer, self._clock = trainer, clock

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """The first step begins."""
        self._clock.begin()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """A step is done."""
        self._clock.step(*self._trainer.last)


def settings(task: Task, output: Path, device: str, *, padding_free: bool) -> SFTConfig:
    """The recipe as the trainer takes it, without anything that is not training.

    Args:
        task: the task.
        output: folder that the trainer wants, though nothing is saved.
        device: "cpu" or "cuda".
        padding_free: whether a batch's rows are packed into one.
    """
    recipe = task.recipe
    return SFTConfig(
        output_dir=str(output),
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        max_steps=task.warmup + task.steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        bf16=task.precision == "bf16",
        use_cpu=device == "cpu",
        gradient_checkpointing=False,
        padding_free=padding_free,
        max_length=None,
        train_sampling_strategy="sequential",
        dataloader_pin_memory=device == "cuda",
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def datasets_of(task: Task) -> dict[str, Dataset]:
    """The rows to train on, in order, and to evaluate on.

    The trainer divides by the number of labels, a row's first among them unless it is taken out.
    """
    return {
        name: Dataset.from_list([{"input_ids": row.ids, "labels": [IGNORED, *row.ids[1:]]} for row in rows])
        for name, rows in (("train", task.order()), ("eval", sorted(task.val, key=length)))
    }
