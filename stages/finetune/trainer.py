"""The fine-tuning loop, and what it is made of: a step, an evaluation, a checkpoint."""

from __future__ import annotations

import dataclasses
import functools
import math
import signal
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from stages.common.errors import ConfigError, DataError
from stages.common.records import LossOn
from stages.common.results.tokenize import Encoded
from stages.finetune import layout, passes, schedule
from stages.finetune.batches import Batch
from stages.finetune.captured_steps import Controls, RecordedLosses, RecordedSteps
from stages.finetune.checkpoint import Checkpoints
from stages.finetune.costs.clock import Meter
from stages.finetune.optimizer import MasterWeights
from stages.finetune.passes import Evaluation
from stages.finetune.progress import Progress, StepRecord, best_evaluation
from stages.finetune.schedule import Step
from stages.finetune.soundness import Soundness
from stages.finetune.team import ALONE, Team
from stages.gpt2 import graphs, runtime
from stages.gpt2.model import GPT2
from stages.params.finetune import Finetune
from stages.running.signals import DeferredInterruption, Interrupted, deferred_interruption


def fit(
    model: GPT2,
    train: Sequence[Encoded],
    val: Sequence[Encoded],
    settings: Finetune,
    *,
    loss_on: LossOn,
    dtype: torch.dtype,
    on_step: Callable[[StepRecord], None],
    on_epoch: Callable[[int], dict[str, Any]],
    checkpoints: Checkpoints | None = None,
    meter: Meter | None = None,
    team: Team = ALONE,
) -> Progress:
    """Fine-tune ``model`` in place.

    The order of rows depends on ``settings.seed`` and the epoch alone, so evaluating, logging, sampling or saving at
    other times changes no weight. A run that goes on from a checkpoint ends with the same bits as one left alone.

    Args:
        model: on its device, in fp32; it is left there in fp32 with the weights that the run keeps.
        train: the rows to learn from.
        val: the rows to evaluate on, all of them each time.
        settings: the recipe.
        loss_on: which tokens count in the loss.
        dtype: of the matrix products; the weights that are updated are fp32 whatever it is.
        on_step: is given a record of the untrained model and of every step done here, in order; on a GPU one step late,
            except where an evaluation, a sample or a checkpoint follows, so that the loop never waits for the GPU.
        on_epoch: is given the number of each epoch when it is over, with the model as it is then, at the run's end with
            the weights that it keeps; returns a sample.
        checkpoints: where to go on from and to save to.
        meter: takes the time of evaluations.
        team: the processes that train the model together, all with the same arguments; its leader alone calls
            ``on_step`` and ``on_epoch`` and saves. If each has a share of the weights only, ``model`` is where all of
            them are gathered at the end of an epoch.

    Returns:
        Everything from the run's beginning on, whenever that was.

    Raises:
        DataError: the rows have nothing to learn from, or the model is no good before any training.
        ConfigError: the recipe makes no step from these rows, or it spoils the model (`stages.finetune.soundness`);
            what is kept of it is said.
        Interrupted: SIGINT or SIGTERM has come, and the run is saved.
    """
    run = _Run(model, train, val, settings, loss_on, dtype, on_step, on_epoch, checkpoints, meter, team)
    with deferred_interruption() as run.interruption:
        try:
            run.begin()
            for step in schedule.steps_of(train, settings, run.steps, done=run.progress.step):
                run.update(step)
                if step.evaluated:
                    run.evaluate(step)
                if step.ends_epoch and not run.over:
                    run.sample(step.epoch)
                run.save_if_due()
                if run.over:
                    break
            run.finish()
        except _Stopped:
            run.save()
            raise Interrupted((run.interruption.signal or signal.SIGTERM).name) from None
        finally:
            run.release()
        run.interruption.raise_if_pending()
    return run.progress


def _over() -> float:
    raise RuntimeError("the run is over, and evaluates no more")


def steps_ahead(device: torch.device) -> int:
    """How many more steps a device is asked for before the numbers of one are read, so that a GPU need not idle."""
    return 1 if device.type == "cuda" else 0


class _Stopped(Exception):
    """A signal has come to this process or another of its team; all raise this at the same place."""


@dataclasses.dataclass(frozen=True)
class _Launched:
    """A step that has been asked of the device, which may not have done it yet."""

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


@dataclasses.dataclass(eq=False)
class _Run:
    """A run under way, and what its loop is made of. The arguments are those of `fit`."""

    model: GPT2
    train: Sequence[Encoded]
    val: Sequence[Encoded]
    settings: Finetune
    loss_on: LossOn
    dtype: torch.dtype
    on_step: Callable[[StepRecord], None]
    on_epoch: Callable[[int], dict[str, Any]]
    checkpoints: Checkpoints | None
    meter: Meter | None
    team: Team

    def __post_init__(self) -> None:
        model, settings, team = self.model, self.settings, self.team
        #: Of the whole run; fewer once it stops early.
        self.steps = schedule.planned_steps(len(self.train), settings)
        self.interruption = DeferredInterruption()
        model.set_dropout(settings.dropout)
        model.recompute = settings.activation_checkpointing
        self._working = team.working_model(model, self.dtype)
        self._weights = MasterWeights(self._working, self.dtype, settings, team)
        self._loss_of = team.distributed(self._working, passes.summed_loss)
        self._device = self._working.wte.weight.device
        self._layout = layout.training(self._device, self.dtype)
        self._recorded: RecordedSteps | None = None
        losses: RecordedLosses | None = None
        # Gradients that are summed over processes are not recorded.
        if (runner := graphs.runner(self._device)) and team.size == 1:
            losses = RecordedLosses(functools.partial(passes.summed_loss, self._working), runner, self._device)
            # Nor are activations that are computed again, for which the generators' states are read.
            if not settings.activation_checkpointing:
                forget = self._weights.forget
                self._recorded = RecordedSteps(self._learn, self._gradient, forget, runner, self._device)
        evaluation = Evaluation(self._working, self.val, self.loss_on, team, self._check, losses)
        self._evaluation = self.meter.timed("evaluation", evaluation) if self.meter else evaluation
        self._launched: list[_Launched] = []
        # Whether a save was due and a signal had come, in any process, of the steps since.
        self._asked: list[Callable[[], list[bool]]] = []
        # The newest step's record, while the evaluation that follows it is to come.
        self._unevaluated: StepRecord | None = None
        self.progress = _go_on(self.checkpoints, self._weights, team, self._device)
        if _lacks_evaluation(self.progress, self.steps, settings):
            self._unevaluated = self.progress.history.pop()
        if _out_of_patience(self.progress, settings):
            self.steps = self.progress.step
        self._tokens_seen = (self._unevaluated or self.progress.history[-1]).tokens_seen if self.progress.history else 0
        self._soundness = Soundness(model.config.vocab_size, self.progress.history, self._device)

    @property
    def over(self) -> bool:
        """Whether the last step is done, with its evaluation."""
        return self.progress.step == self.steps

    def begin(self) -> None:
        """Evaluate the untrained model, unless the run goes on."""
        if self.progress.history:
            return
        val_loss = self._evaluation()
        if not math.isfinite(val_loss):
            raise DataError(
                f"before any training the validation loss is {val_loss}: the model itself is no good",
                "set finetune.precision: fp32 in params.yaml, or take another model (download.model)",
            )
        self._record(StepRecord(step=0, epoch=0, tokens_seen=0, val_loss=val_loss))

    def update(self, step: Step) -> None:
        """Forward, backward and an update of the weights, unless a run before this one has done just that."""
        if self._unevaluated is not None:
            return
        learning_rate = self.settings.learning_rate * schedule.rate_factor(step.number, self.steps, self.settings)
        controls = Controls(learning_rate, float(step.number - 1))
        batches = passes.parts(step.rows, self.settings, self.loss_on, self._layout, self.team)
        self._working.train(self.settings.dropout > 0)
        with passes.dropout_of(self.settings, step.number, self.team):
            if self._recorded is not None:
                numbers = self._recorded(batches, controls)
            else:
                numbers = self._learn([batch.to(self._device) for batch in batches], controls)
        self._working.eval()

        self._tokens_seen += sum(len(row.ids) - 1 for row in step.rows)
        self._launched.append(_Launched(step, self._tokens_seen, learning_rate, runtime.fetched(numbers)))
        self._read(leave=steps_ahead(self._device))

    def _learn(self, batches: Sequence[Batch], controls: Controls) -> Tensor:
        """Forward, backward and update; the loss, the gradient's norm before clipping, and 1 if the step is lost."""
        loss, norm = self._gradient(batches)
        lost = self._soundness.lost(loss, norm, controls.after)
        self._weights.step(controls.learning_rate, norm, controls.after, lost)
        return torch.stack([loss, norm, lost])

    def _gradient(self, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
        loss = passes.backward(self._loss_of, self._weights, batches)
        return loss, self._weights.norm()

    def evaluate(self, step: Step) -> None:
        """Evaluate after a step. With patience, keep the best weights, and end the run where these are long ago."""
        self._read()
        assert self._unevaluated is not None
        val_loss = self._evaluation()
        if not math.isfinite(val_loss):
            self._fail(step, f"val_loss after it is {val_loss}")
        made = dataclasses.replace(self._unevaluated, val_loss=val_loss)
        self._unevaluated = None
        self._record(made)
        if self.settings.patience is not None:
            best, since = best_evaluation(self.progress.history)
            if best is made:
                self._weights.keep_best()
            if since >= self.settings.patience:
                self.steps = step.number

    def sample(self, epoch: int) -> None:
        """Have the model as it is now answer."""
        self._read()
        if self.team.sharded:
            self._weights.restore(self.model)
        if self.team.leads:
            self.progress.samples.append(self.on_epoch(epoch))

    def save_if_due(self) -> None:
        """Save if it is time; stop if a signal has come. On several GPUs a step after it was so, as `steps_ahead`."""
        due = self.checkpoints is not None and self.team.leads and self.checkpoints.due()
        self._asked.append(self.team.ask(due, self.interruption.signal is not None, device=self._device))
        if len(self._asked) <= (steps_ahead(self._device) if self.team.size > 1 else 0):
            return
        due, stopped = self._asked.pop(0)()
        if stopped:
            raise _Stopped
        if due:
            self.save()
            self._asked.clear()  # before the save it was due in all of them

    def save(self) -> None:
        """Save a checkpoint of the newest step; of the untrained model there is none to save."""
        self._read()
        unevaluated = [] if self._unevaluated is None else [self._unevaluated]
        progress = dataclasses.replace(self.progress, history=[*self.progress.history, *unevaluated])
        if self.checkpoints is None or progress.step <= 0:
            return
        [held] = self.team.any(self.checkpoints.held, device=self._device)
        if not held:
            return
        tensors = self._weights.tensors()
        if self.team.leads:
            self.checkpoints.save(progress.step, self._weights.shapes(), tensors, progress)
        for _ in tensors:  # each may be gathered from all processes, and the leader's disk be full
            pass

    def finish(self) -> None:
        """Leave the model with the weights that the run keeps, and have it answer."""
        self.release()
        self.progress.kept_step = self.progress.step
        if self.settings.patience is not None:
            self.progress.kept_step = best_evaluation(self.progress.history)[0].step
            self._weights.take_best()
        self._weights.restore(self.model)
        if self.team.leads:
            self.progress.samples.append(self.on_epoch(self.progress.history[-1].epoch))

    def release(self) -> None:
        """Give back what only steps and evaluations need, recordings' memory on a GPU among it.

        They hold the run in turn, which therefore goes only when Python looks for such circles.
        """
        self._recorded = None
        self._evaluation = _over

    def _record(self, made: StepRecord) -> None:
        self._soundness.passed(made)
        self.progress.history.append(made)
        if self.team.leads:
            self.on_step(made)

    def _read(self, leave: int = 0) -> None:
        """Record the steps launched but for so many of the newest; one that an evaluation follows waits for that."""
        while len(self._launched) > leave:
            launched = self._launched.pop(0)
            made, lost = launched.read()
            if lost:
                self._launched.clear()
                self.save()  # neither its update was made nor any after it
                self._fail(launched.step, self._soundness.fault(made) or f"train_loss is {made.train_loss:.4g}")
            if launched.step.evaluated:
                self._unevaluated = made
            else:
                self._record(made)

    def _check(self) -> None:
        if any(self.team.any(self.interruption.signal is not None, device=self._device)):
            raise _Stopped

    def _fail(self, step: Step, fault: str) -> NoReturn:
        """Stop a run that spoils its model, and say which weights are kept where."""
        names = ", ".join(row.id for row in step.rows)
        folders = sorted(self.checkpoints.folder.glob("step-*"), reverse=True) if self.checkpoints else []
        kept = ", ".join(f"after step {int(folder.name.removeprefix('step-'))} in {folder}" for folder in folders)
        raise ConfigError(
            f"step {step.number}: {fault}; the rows of this step: {names}\n"
            f"  kept: {f'the weights {kept}' if kept else 'no weights, as no step before it was saved'}",
            "lower finetune.learning_rate, or set finetune.clip_norm, in params.yaml",
        )


def _go_on(checkpoints: Checkpoints | None, weights: MasterWeights, team: Team, device: torch.device) -> Progress:
    """Take the newest whole checkpoint, which the leader finds, or begin anew."""
    if checkpoints is None:
        return Progress()
    saved = checkpoints.newest() if team.leads else None
    step = team.told(saved.progress.step if saved else 0, device)
    if step == 0:
        return Progress()
    saved = saved or checkpoints.at(step)
    weights.take(saved.tensors)
    return saved.progress


def _lacks_evaluation(progress: Progress, steps: int, settings: Finetune) -> bool:
    """Whether a run was stopped between its newest step and the evaluation that follows it."""
    due = progress.step > 0 and schedule.evaluated(progress.step, steps, settings.eval_every)
    return due and progress.history[-1].val_loss is None


def _out_of_patience(progress: Progress, settings: Finetune) -> bool:
    """Whether a run that goes on had stopped early already."""
    evaluated = any(record.val_loss is not None and record.step > 0 for record in progress.history)
    return settings.patience is not None and evaluated and best_evaluation(progress.history)[1] >= settings.patience
