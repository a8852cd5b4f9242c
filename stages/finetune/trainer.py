"""The fine-tuning loop, and what it is made of: a step, an evaluation, a checkpoint."""

from __future__ import annotations

import functools
import math
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NoReturn

import torch

from stages.common.errors import ConfigError, DataError
from stages.common.results.finetune import StepRecord
from stages.finetune import passes, schedule
from stages.finetune.captured_steps import CapturedLosses, CapturedSteps
from stages.finetune.checkpoint import Checkpoints
from stages.finetune.costs.clock import Clock
from stages.finetune.optimizer import MasterWeights
from stages.finetune.optimizer_step import Controls, OptimizerStep, StepOf
from stages.finetune.passes import Evaluation
from stages.finetune.progress import Progress, best_evaluation
from stages.finetune.schedule import Step
from stages.finetune.soundness import Soundness
from stages.finetune.training_run import Run
from stages.gpt2 import graphs, runtime
from stages.gpt2.model import GPT2
from stages.params.finetune import Finetune
from stages.running.signals import DeferredInterruption, Interrupted, deferred_interruption


def fit(
    model: GPT2,
    run: Run,
    *,
    on_step: Callable[[StepRecord], None],
    checkpoints: Checkpoints | None = None,
    clock: Clock | None = None,
    refused: Callable[[], bool] = lambda: False,
) -> Progress:
    """Fine-tune ``model`` in place.

    The order of rows depends on the recipe's seed and the epoch alone, so evaluating, logging or saving at other times
    changes no weight. A run that goes on from a checkpoint ends with the same bits as one left alone.

    Args:
        model: the model on its device, in fp32; it is left there in fp32 with the weights that the run keeps. Where
            each process has a share of the weights only, ``model`` is in main memory, and all of them are gathered
            there at the end.
        run: what is trained how, and on what.
        on_step: function that takes a record of the untrained model and of every step done here, in order, in the
            process of rank 0. On a GPU a record comes one step late, except where an evaluation or a checkpoint
            follows, so that the loop never waits for the GPU.
        checkpoints: checkpoints to go on from and to save to.
        clock: clock that times the evaluations.
        refused: function that says whether the finished training will not count as a success; it is then saved. Asked
            in the process of rank 0.

    Returns:
        Everything from the run's beginning on, whenever that was.

    Raises:
        DataError: the rows have nothing to learn from, or the loss of the untrained model is not finite.
        ConfigError: the recipe makes no step from these rows, or it damages the model (`stages.finetune.soundness`);
            the message says which weights are kept.
        Interrupted: SIGINT or SIGTERM has come, and the run is saved.
    """
    training = _Training(model, run, on_step, checkpoints, clock)
    with deferred_interruption() as training.interruption:
        try:
            training.begin()
            for step in schedule.steps_of(run.train, run.recipe, training.steps, done=training.progress.step):
                training.update(step)
                if step.evaluated:
                    training.evaluate(step)
                training.save_if_due()
                if training.over:
                    break
            training.save_at_end(refused)
            training.finish()
        except _Stopped:
            training.save()
            raise Interrupted((training.interruption.signal or signal.SIGTERM).name) from None
        training.interruption.raise_if_pending()
    return training.progress


def steps_ahead(device: torch.device) -> int:
    """How many more steps are enqueued on a device before the numbers of one are read, so that a GPU need not idle."""
    return 1 if device.type == "cuda" else 0


class _Stopped(Exception):
    """A signal has come to this process or to another one; all processes raise this at the same point of the run."""


@dataclass(frozen=True)
class _Enqueued:
    """A step that is enqueued on the device, which may not have done it yet."""

    step: Step
    tokens_seen: int
    learning_rate: float
    numbers: Callable[[], list[float]]

    def read(self) -> tuple[StepRecord, bool]:
        """Its record, without an evaluation, and whether it is lost; waits for the step, and for none after it."""
        loss, grad_norm, lost = self.numbers()
        record = StepRecord(
            step=self.step.number,
            epoch=self.step.epoch,
            tokens_seen=self.tokens_seen,
            train_loss=loss,
            learning_rate=self.learning_rate,
            grad_norm=grad_norm,
        )
        return record, lost > 0


class _Training:
    """A run under way. The arguments are those of `fit`."""

    def __init__(
        self,
        model: GPT2,
        run: Run,
        on_step: Callable[[StepRecord], None],
        checkpoints: Checkpoints | None,
        clock: Clock | None,
    ) -> None:
        self.interruption = DeferredInterruption()
        self._model, self._run, self._team = model, run, run.team
        self._on_step, self._checkpoints = on_step, checkpoints
        self._working = _working_model(model, run)
        self._device = self._working.wte.weight.device
        self._weights = MasterWeights(self._working, run.compute.dtype, run.recipe, run.team)
        loss_of = run.team.distributed(self._working, passes.summed_loss)

        self.progress = self._resumed()
        self._tokens_seen = self.progress.history[-1].tokens_seen if self.progress.history else 0
        #: The newest step's record, while the evaluation that follows it is to come.
        self._unevaluated = self.progress.history.pop() if _lacks_evaluation(self.progress, run) else None
        #: The last step of the run; an earlier one once it stops early.
        self.steps = self.progress.step if _out_of_patience(self.progress, run.recipe) else run.steps
        #: Steps that are enqueued and not yet in the history.
        self._enqueued: list[_Enqueued] = []
        #: For each of the newest steps, whether a save was due and whether a signal had come, in any process.
        self._asked: list[Callable[[], list[bool]]] = []

        self._soundness = Soundness(model.config.vocab_size, self.progress.history, self._device)
        step = OptimizerStep(loss_of, self._weights, self._soundness)
        # Gradients that are summed over processes are not captured. Nor are steps that compute activations again, for
        # which the states of the random number generators are read.
        runner = graphs.runner(self._device) if run.team.size == 1 else None
        self._step: StepOf = CapturedSteps(step, runner) if runner and not model.recompute else step
        evaluation = _evaluation(self._working, run, runner)
        self._evaluation = clock.timed("evaluation", evaluation) if clock else evaluation

    @property
    def over(self) -> bool:
        """Whether the last step is done, with its evaluation."""
        return self.progress.step == self.steps

    def begin(self) -> None:
        """Evaluate the untrained model, unless the run goes on from a checkpoint."""
        if self.progress.history:
            return
        val_loss = self._evaluation(self._check)
        if not math.isfinite(val_loss):
            raise DataError(
                f"before any training the validation loss is {val_loss}: the model itself is no good",
                "set finetune.precision: fp32 in params.yaml, or take another model (download.model)",
            )
        self._record(StepRecord(step=0, epoch=0, tokens_seen=0, val_loss=val_loss))

    def update(self, step: Step) -> None:
        """Forward, backward and an update of the weights, unless the checkpoint holds this very step."""
        if self._unevaluated is not None:
            return
        recipe = self._run.recipe
        learning_rate = recipe.learning_rate * schedule.rate_factor(step.number, self.steps, recipe)
        batches = passes.micro_batches(step.rows, self._run, step.number)
        numbers = self._step(batches, Controls(learning_rate, float(step.number - 1)))

        self._tokens_seen += sum(len(row.ids) - 1 for row in step.rows)
        self._enqueued.append(_Enqueued(step, self._tokens_seen, learning_rate, runtime.fetched(numbers)))
        self._read(leave=steps_ahead(self._device))

    def evaluate(self, step: Step) -> None:
        """Evaluate after a step. With patience, keep the best weights, and end the run where these are long ago."""
        self._read()
        assert self._unevaluated is not None
        val_loss = self._evaluation(self._check)
        if not math.isfinite(val_loss):
            self._fail(step, f"val_loss after it is {val_loss}")
        made = self._unevaluated.model_copy(update={"val_loss": val_loss})
        self._unevaluated = None
        self._record(made)
        patience = self._run.recipe.patience
        if patience is not None:
            best, since = best_evaluation(self.progress.history)
            if best is made:
                self._weights.keep_best()
            if since >= patience:
                self.steps = step.number

    def save_if_due(self) -> None:
        """Save if it is time; stop if a signal has come. On several GPUs a step after it was so, as `steps_ahead`."""
        due = self._checkpoints is not None and self._team.leads and self._checkpoints.due()
        self._asked.append(self._team.ask(due, self.interruption.signal is not None, device=self._device))
        if len(self._asked) <= (steps_ahead(self._device) if self._team.size > 1 else 0):
            return
        due, stopped = self._asked.pop(0)()
        if stopped:
            raise _Stopped
        if due:
            self.save()
            self._asked.clear()  # before the save it was due in all of them

    def save_at_end(self, refused: Callable[[], bool]) -> None:
        """Save the last step where the result may be refused or get lost. On several GPUs rank 0 decides for all."""
        if self._checkpoints is None:
            return
        wanted = self._team.leads and (refused() or self._checkpoints.due_at_end(self.progress.step))
        if any(self._team.any(wanted, device=self._device)):
            self.save()

    def save(self) -> None:
        """Save a checkpoint of the newest step; of the untrained model there is none to save."""
        self._read()
        unevaluated = [] if self._unevaluated is None else [self._unevaluated]
        progress = replace(self.progress, history=[*self.progress.history, *unevaluated])
        if self._checkpoints is None or progress.step <= 0:
            return
        [held] = self._team.any(self._checkpoints.held, device=self._device)
        if not held:
            return
        tensors = self._weights.tensors()
        if self._team.leads:
            self._checkpoints.save(progress.step, self._weights.shapes(), tensors, progress)
        for _ in tensors:  # each may be gathered from all processes, and rank 0's disk be full
            pass

    def finish(self) -> None:
        """Leave the model with the weights that the run keeps."""
        self.progress.kept_step = self.progress.step
        if self._run.recipe.patience is not None:
            self.progress.kept_step = best_evaluation(self.progress.history)[0].step
            self._weights.take_best()
        self._weights.restore(self._model)

    def _resumed(self) -> Progress:
        """Take the newest whole checkpoint, which rank 0 finds, or begin from scratch."""
        if self._checkpoints is None:
            return Progress()
        saved = self._checkpoints.newest() if self._team.leads else None
        step = self._team.told(saved.progress.step if saved else 0, self._device)
        if step == 0:
            return Progress()
        saved = saved or self._checkpoints.at(step)
        self._weights.take(saved.tensors)
        return saved.progress

    def _record(self, made: StepRecord) -> None:
        self._soundness.passed(made)
        self.progress.history.append(made)
        if self._team.leads:
            self._on_step(made)

    def _read(self, leave: int = 0) -> None:
        """Record the enqueued steps but for the newest ``leave``; one that is to be evaluated waits for that."""
        while len(self._enqueued) > leave:
            enqueued = self._enqueued.pop(0)
            made, lost = enqueued.read()
            if lost:
                self._enqueued.clear()
                self.save()  # neither its update was made nor any after it
                self._fail(enqueued.step, self._soundness.fault(made) or f"train_loss is {made.train_loss:.4g}")
            if enqueued.step.evaluated:
                self._unevaluated = made
            else:
                self._record(made)

    def _check(self) -> None:
        if any(self._team.any(self.interruption.signal is not None, device=self._device)):
            raise _Stopped

    def _fail(self, step: Step, fault: str) -> NoReturn:
        """Stop a run that damages its model, and say which weights are kept where."""
        names = ", ".join(row.id for row in step.rows)
        folders = sorted(self._checkpoints.folder.glob("step-*"), reverse=True) if self._checkpoints else []
        kept = ", ".join(f"after step {int(folder.name.removeprefix('step-'))} in {folder}" for folder in folders)
        raise ConfigError(
            f"step {step.number}: {fault}; the rows of this step: {names}\n"
            f"  kept: {f'the weights {kept}' if kept else 'no weights, as no step before it was saved'}",
            "lower finetune.learning_rate, or set finetune.clip_norm, in params.yaml",
        )


def _working_model(model: GPT2, run: Run) -> GPT2:
    """The model that computes, set up as the recipe says."""
    model.recompute = run.recipe.activation_checkpointing
    return run.team.working_model(model, run.compute.dtype)


def _evaluation(model: GPT2, run: Run, runner: graphs.GraphRunner | None) -> Evaluation:
    """An evaluation on the validation rows, its batches as CUDA graphs where there is a runner."""
    loss_of = functools.partial(passes.summed_loss, model)
    captured = CapturedLosses(loss_of, runner, model.wte.weight.device) if runner else None
    return Evaluation(model, run.val, run.loss_on, run.team, captured)


def _lacks_evaluation(progress: Progress, run: Run) -> bool:
    """Whether a run was stopped between its newest step and the evaluation that follows it."""
    due = progress.step > 0 and schedule.evaluated(progress.step, run.steps, run.recipe.eval_every)
    return due and progress.history[-1].val_loss is None


def _out_of_patience(progress: Progress, recipe: Finetune) -> bool:
    """Whether a run that goes on had stopped early already."""
    evaluated = any(record.val_loss is not None and record.step > 0 for record in progress.history)
    return recipe.patience is not None and evaluated and best_evaluation(progress.history)[1] >= recipe.patience
