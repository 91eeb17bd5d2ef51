"""One training loop, for every model and every strategy.

Keras' own `fit` does not run under every tf.distribute strategy with Keras 3 (keras#20585); this
loop calls the strategy itself and lets the Keras optimizer apply the reduced gradients.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import keras
import tensorflow as tf
from tqdm import tqdm

from xmodal.config.training import TrainConfig
from xmodal.core.errors import UserError, WorkerLost
from xmodal.core.signals import deferred_signals
from xmodal.data.batches import Batches
from xmodal.training.batch_norm import batch_norms, refresh_statistics, without_statistics
from xmodal.training.checkpoint import Checkpoints, Stage
from xmodal.training.prediction import validator
from xmodal.training.profiler import StepTrace
from xmodal.training.progress import (
    History,
    Progress,
    newest,
    progress_state,
    result_state,
    take_progress,
    take_result,
)
from xmodal.training.rehearsal import Steps, repeated, shortened, stopwatch, under_way
from xmodal.training.replicas import Stopped, distributed, progress_bar
from xmodal.training.steps import Adversary, Loss, step_taker
from xmodal.training.strategy import lost_workers_noticed, workers


def fit(
    model: keras.Model,
    train: Callable[[int], tf.data.Dataset | Batches],
    *,
    loss: Loss,
    optimizer: Callable[[int], keras.optimizers.Optimizer],
    epochs: int,
    strategy: tf.distribute.Strategy,
    stage: str,
    validation: tf.data.Dataset | Batches | None = None,
    patience: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    metrics: Sequence[keras.metrics.Metric] = (),
    checkpoints: Checkpoints | None = None,
    config: TrainConfig | None = None,
    adversary: Adversary | None = None,
    classifies: bool = True,
) -> History:
    """Trains a model.

    Args:
        model: inputs -> logits (B, C), built in the strategy's scope.
        train: epoch (from 0) -> batches of (inputs, labels (B,), weights (B,)); the same batches
            whenever it is called with the same epoch.
        loss: (labels, logits) -> losses (B,). A step minimises their mean, weighted by the weights
            over the whole global batch, so that the number of devices does not matter.
        optimizer: the number of all steps -> a Keras optimizer.
        epochs: the most epochs.
        strategy: the tf.distribute strategy.
        stage: what progress, history and checkpoints call this training.
        validation: batches as `train` gives, kept out of training.
        patience: epochs without a lower validation loss before training stops; the weights of the
            best epoch are restored in any case, and those that the training began with are among them.
            None trains to the end and keeps the last weights.
        callbacks: Keras callbacks; their logs are the entries of the history. What they hold
            themselves is not saved: `on_train_begin` is called anew when a training goes on.
        metrics: Keras metrics of labels (N,) and logits (N, C), taken over the whole validation data: the
            history has val_NAME of each.
        checkpoints: where the state is saved. What is found there is gone on with, to the same end
            as if it had not been interrupted; a finished training is not run again. SIGTERM and
            Ctrl-C wait for the step's end and save.
        config: its clip_norm, accumulate, steps_per_call, data_service, profile_steps and jit are for here:
            the norm that the gradient of the whole global batch is clipped to (0: none); parts in which a
            device passes its share of a batch through, which changes memory and no result but batch
            normalisation and dropout; steps that TensorFlow takes without coming back to Python, between
            which no callback is called and nothing is saved; who reads the batches; which steps are traced,
            and where to; XLA.
        adversary: inputs, labels -> inputs that mislead the model as it is; a step then minimises the mean
            of the losses on both (adversarial training: Goodfellow et al. 2015, arXiv:1412.6572, section 6).
        classifies: the outputs are logits of classes. Otherwise outputs and labels are whatever `loss`
            takes, each (B, ...); validation takes it too, and the history has no accuracy.

    Batch normalisation that learns has its statistics computed anew after each epoch, see
    `xmodal.training.batch_norm`, and before the first one where it has none.

    Returns:
        The `History`.

    Raises:
        UserError: when what is found belongs to another training or cannot be used, and when the loss is
            not finite and there are no weights to go back to.
        WorkerLost: when another process of the job died, or was told to stop.
    """
    config = config or TrainConfig()
    kept = checkpoints.stage(stage) if checkpoints else None
    found = newest(kept, strategy) if kept else None
    if found and found[1]:
        return History(stage, *take_result(found[0], model, strategy, stage))
    steps = int(train(0).cardinality())
    if steps < 1:
        raise ValueError(f"an epoch needs a known number of batches. Received: {steps}")
    with strategy.scope():
        applied = optimizer(steps * epochs)
        applied.build(model.trainable_variables)
    taken, planned = Steps(steps * epochs), epochs
    steps, epochs = shortened(steps, epochs, config.steps_per_call)
    progress = Progress()
    if found:
        progress = take_progress(found[0], model, applied, strategy, stage, (steps, epochs))
    listeners = keras.callbacks.CallbackList(list(callbacks), model=model, epochs=epochs, steps=steps)
    traced = config.profile_steps if workers(strategy).is_chief else ()
    trace = StepTrace(traced, config.profile_folder, stage)
    run = _Training(
        model,
        applied,
        strategy,
        stage,
        (steps, epochs),
        progress,
        kept,
        listeners,
        config,
        classifies,
        taken,
        trace,
    )
    take_steps = step_taker(
        model, applied, strategy, loss, config, adversary, classifies, planned=taken.planned
    )
    validate = validator(model, strategy, metrics, None if classifies else loss)
    model.stop_training = False
    listeners.on_train_begin()
    elapsed = stopwatch()
    with trace, deferred_signals() if kept else nullcontext(lambda: False) as interrupted:
        stop = False
        if progress.epoch == progress.step == 0:
            stop = _begin(run, train(0), validate, validation, patience, interrupted)
        while progress.epoch < epochs and not progress.stopped and not stop:
            progress.begin()
            stop = _train_epoch(run, take_steps, train(progress.epoch), interrupted)
            with repeated(planned / epochs):
                stop = stop or _end_epoch(run, train, validate, validation, patience, interrupted)
        taken.close()
        if stop or interrupted():
            run.save()
    if stop:
        raise WorkerLost("another process of the job was told to stop")
    if progress.diverged and progress.best_weights is None:
        raise UserError(
            f"{stage or 'the training'} diverged: the loss of epoch {progress.epoch + 1} is not finite",
            "choose a lower learning rate, or --clip_norm=1",
        )
    if progress.best_weights is not None:
        model.set_weights(progress.best_weights)
    else:
        with strategy.scope():
            applied.finalize_variable_values(model.trainable_variables)
    listeners.on_train_end()
    if kept:
        kept.finish(result_state(progress, model, stage))
    return History(stage, _told_epochs(progress, planned, elapsed()), progress.start, progress.diverged)


def _told_epochs(progress: Progress, planned: int, seconds: float) -> tuple[dict[str, float], ...]:
    """Returns the history; in a rehearsal that of the run, with the seconds that it would take."""
    if not under_way() or not progress.history:
        return tuple(progress.history)
    last = {**progress.history[-1], "seconds": seconds / planned}
    return tuple({**last, "epoch": epoch} for epoch in range(planned))


@dataclass(frozen=True)
class _Training:
    """A training under way: what the parts of `fit` share."""

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    strategy: tf.distribute.Strategy
    stage: str
    size: tuple[int, int]
    progress: Progress
    kept: Stage | None
    listeners: keras.callbacks.CallbackList
    config: TrainConfig
    classifies: bool
    taken: Steps
    trace: StepTrace

    @property
    def number(self) -> int:
        """Steps since the training began."""
        return self.progress.epoch * self.size[0] + self.progress.step

    def means(self) -> dict[str, float]:
        means = self.progress.means()
        return means if self.classifies else {"loss": means["loss"]}

    def validated(self, validate, validation, interrupted: Callable[[], bool]) -> dict[str, float] | None:
        """Returns what a validation gives, None when it was interrupted."""
        # Processes that share the work must not leave each other alone with it.
        alone = workers(self.strategy).workers == 1
        try:
            return validate(validation, interrupted if alone else lambda: False)
        except Stopped:
            return None

    def save(self) -> None:
        if self.kept:
            self.progress.tick()
            state = progress_state(self.progress, self.model, self.optimizer, self.stage, self.size)
            self.kept.save(self.number, state)

    def save_if_due(self, **when: bool) -> None:
        if self.kept and self.kept.due(self.number, **when):
            self.save()


def _train_epoch(run: _Training, take_steps: Callable, batches, interrupted: Callable[[], bool]) -> bool:
    """Trains the rest of an epoch, and returns whether the training is to stop."""
    progress, (steps, epochs) = run.progress, run.size
    several = workers(run.strategy).workers > 1
    # Processes stop after the same step: after the one that told all of them that one is to.
    stop, go = tf.constant(1.0), tf.constant(0.0)
    if progress.step == 0:
        run.listeners.on_epoch_begin(progress.epoch)
    name = f"{run.stage} {progress.epoch + 1}/{epochs}" if run.stage else ""
    started, before = time.perf_counter(), (progress.sums, progress.waiting)
    with progress_bar(name, steps, run.strategy) as bar, lost_workers_noticed(run.strategy):
        bar.update(progress.step)
        rest = batches.skip(progress.step)
        shares = iter(distributed(rest, run.strategy, run.config.accumulate, run.config.data_service))
        while progress.step < steps:
            count = min(run.config.steps_per_call, steps - progress.step)
            run.listeners.on_train_batch_begin(progress.step)
            with run.taken.timed(count), run.trace.step(run.number + 1, count):
                sums, waited = take_steps(shares, count, stop if interrupted() else go)
                progress.sums += sums
                if under_way():
                    # A GPU is done when its results are there.
                    progress.sums.numpy()
            progress.waiting += waited
            progress.step += count
            run.listeners.on_train_batch_end(progress.step - 1)
            if not bar.disable and progress.step % 10 <= count:
                _tell(bar, run, before, time.perf_counter() - started)
            bar.update(count)
            run.save_if_due()
            if progress.stop_asked() if several else interrupted():
                return True
    return False


def _begin(run: _Training, batches, validate, validation, patience, interrupted: Callable[[], bool]) -> bool:
    """Validates what the training begins with, and returns whether it is to stop before that has ended."""
    refresh_statistics(run.model, without_statistics(run.model), batches, run.strategy)
    if validation is None or patience is None:
        return False
    logs = run.validated(validate, validation, interrupted)
    if logs is not None:
        run.progress.begin_with(logs, run.model)
    return logs is None


def _end_epoch(
    run: _Training, train, validate, validation, patience, interrupted: Callable[[], bool]
) -> bool:
    """Validates, and returns whether the training is to stop before that has ended."""
    progress = run.progress
    logs = run.means()
    learning = batch_norms(run.model, trainable=True)
    with _averaged(run.model, run.optimizer, run.strategy):
        if learning:
            refresh_statistics(run.model, learning, train(progress.epoch), run.strategy)
        if validation is not None:
            seen = run.validated(validate, validation, interrupted)
            if seen is None:
                return True
            logs |= seen
        run.listeners.on_epoch_end(progress.epoch, logs)
        progress.end_epoch(logs, run.model, patience)
    run.save_if_due(epoch_ended=True)
    return False


@contextmanager
def _averaged(model: keras.Model, optimizer, strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Gives a model the average of its weights, where the optimizer keeps one, within a block."""
    if not getattr(optimizer, "inner_optimizer", optimizer).use_ema:
        yield
        return
    trained = [variable.numpy() for variable in model.trainable_variables]
    with strategy.scope():
        optimizer.finalize_variable_values(model.trainable_variables)
        yield
        for variable, array in zip(model.trainable_variables, trained, strict=True):
            variable.assign(array)


def _tell(bar: tqdm, run: _Training, before: tuple[tf.Tensor, float], seconds: float) -> None:
    progress = run.progress
    told = {name: f"{value:.3g}" for name, value in run.means().items()}
    told["examples/s"] = f"{float((progress.sums - before[0])[3]) / seconds:.3g}"
    waited = progress.waiting - before[1]
    if math.isfinite(waited):
        told["waiting"] = f"{waited / seconds:.0%}"
    bar.set_postfix(told, refresh=False)
