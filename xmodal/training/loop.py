"""One training loop, for every model and every strategy.

Keras' own `fit` does not run under every tf.distribute strategy with Keras 3 (keras#20585); this
loop calls the strategy itself and lets the Keras optimizer apply the reduced gradients.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import keras
import tensorflow as tf
from tqdm import tqdm

from xmodal.config.training import TrainConfig
from xmodal.core.errors import UserError, WorkerLost
from xmodal.core.signals import deferred_signals
from xmodal.data.batches import Batches
from xmodal.training.batch_norm import batch_norms, refresh_statistics, without_statistics
from xmodal.training.checkpoint import Checkpoints, Stage, State
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
from xmodal.training.rehearsal import Steps, repeated, shorten, stopwatch, under_way
from xmodal.training.replicas import Stopped, distribute, progress_bar
from xmodal.training.steps import Adversary, Loss, make_train_step
from xmodal.training.strategy import lost_workers_noticed, require_scope, workers


@dataclass(frozen=True)
class Training:
    """What is trained, on what and how: the arguments of `fit`.

    Attributes:
        model: inputs -> outputs (B, ...), for classifiers logits (B, C), built in the strategy's scope.
        train: epoch (from 0) -> batches of (inputs, labels (B, ...), weights (B,)); the same batches whenever
            it is called with the same epoch.
        loss: (labels, outputs) -> losses (B,). A step minimises their mean, weighted by the weights over the
            whole global batch, so that the number of devices does not matter.
        optimizer: the number of all steps -> a Keras optimizer.
        epochs: the most epochs.
        strategy: the tf.distribute strategy.
        stage: what progress, history and checkpoints call this training.
        validation: batches as `train` gives, kept out of training.
        validation_loss: what val_loss is the mean of, by default the cross-entropy for classifiers and `loss`
            for others.
        patience: epochs without a lower validation loss before training stops; the weights of the best epoch
            are restored in any case, and those that the training began with are among them. None trains to
            the end and keeps the last weights.
        callbacks: Keras callbacks; their logs are the entries of the history. What they hold themselves is
            not saved: `on_train_begin` is called anew when a training goes on.
        metrics: Keras metrics of labels (N, ...) and outputs (N, ...), taken over the whole validation data:
            the history has val_NAME of each.
        checkpoints: where the state is saved. What is found there is gone on with, to the same end as if it
            had not been interrupted; a finished training is not run again. SIGTERM and Ctrl-C wait for the
            step's end and save.
        config: its clip_norm, accumulate, steps_per_call, data_service, profile_steps, jit, until are read:
            the norm that the gradient of the whole global batch is clipped to (0: none); parts in which a
            device passes its share of a batch through, which changes memory and no result but batch
            normalisation and dropout; steps that TensorFlow takes without coming back to Python, between
            which no callback is called and nothing is saved; who reads the batches; which steps are traced,
            and where to; XLA; the validation accuracy at which no further epoch follows.
        adversary: inputs, labels -> inputs that mislead the model as it is; a step then minimises the mean
            of the losses on both (adversarial training: Goodfellow et al. 2015, arXiv:1412.6572, section 6).
        report_accuracy: the outputs are logits of classes. Otherwise the history has no accuracy.
        on_epoch: is told the stage and the entry of the history of each epoch that ends, in the chief alone;
            not in a rehearsal, and not of a training without a name.
    """

    model: keras.Model
    train: Callable[[int], tf.data.Dataset | Batches]
    _: KW_ONLY
    loss: Loss
    optimizer: Callable[[int], keras.optimizers.Optimizer]
    epochs: int
    strategy: tf.distribute.Strategy
    stage: str
    validation: tf.data.Dataset | Batches | None = None
    validation_loss: Loss | None = None
    patience: int | None = None
    callbacks: Sequence[keras.callbacks.Callback] = ()
    metrics: Sequence[keras.metrics.Metric] = ()
    checkpoints: Checkpoints | None = None
    config: TrainConfig = field(default_factory=TrainConfig)
    adversary: Adversary | None = None
    report_accuracy: bool = True
    on_epoch: Callable[[str, dict[str, float]], None] | None = None


def fit(model: keras.Model, train: Callable[[int], tf.data.Dataset | Batches], **options: Any) -> History:
    """Trains a model, or goes on with a training that was interrupted.

    Batch normalisation that learns has its statistics computed anew after each epoch, see
    `xmodal.training.batch_norm`, and before the first one where it has none.

    Args:
        model, train: as `Training` has them.
        options: the other fields of `Training`.

    Raises:
        UserError: when the model was not built in the strategy's scope, when a checkpoint belongs to another
            training or cannot be used, and when the loss is not finite and no weights are left to go back to.
        WorkerLost: when another process of the job died, or was told to stop.
    """
    training = Training(model, train, **options)
    strategy, stage = training.strategy, training.stage
    require_scope(model, strategy)
    checkpoint = training.checkpoints.stage(stage) if training.checkpoints else None
    state, finished = (newest(checkpoint, strategy) if checkpoint else None) or (None, False)
    if state and finished:
        return History(stage, *take_result(state, model, strategy, stage), training.config.until)
    run = _prepare(training, checkpoint, state)
    seconds = _train(run)
    progress = run.progress
    if progress.best_weights is not None:
        model.set_weights(progress.best_weights)
    else:
        with strategy.scope():
            run.optimizer.finalize_variable_values(model.trainable_variables)
    run.listeners.on_train_end()
    if checkpoint:
        checkpoint.finish(result_state(progress, model, stage))
    epochs = _reported_epochs(progress, training.epochs, seconds)
    return History(stage, epochs, progress.start, progress.diverged, training.config.until)


@dataclass(frozen=True)
class _Run:
    """A training under way: what the parts of `fit` share."""

    training: Training
    optimizer: keras.optimizers.Optimizer
    size: tuple[int, int]
    progress: Progress
    checkpoint: Stage | None
    listeners: keras.callbacks.CallbackList
    steps: Steps
    trace: StepTrace
    train_step: Callable
    validate: Callable[..., dict[str, float]]

    @property
    def number(self) -> int:
        """Steps since the training began."""
        return self.progress.epoch * self.size[0] + self.progress.step

    def means(self) -> dict[str, float]:
        means = self.progress.means()
        return means if self.training.report_accuracy else {"loss": means["loss"]}

    def run_validation(self, interrupted: Callable[[], bool]) -> dict[str, float] | None:
        """Returns what a validation gives, None when it was interrupted."""
        # Processes that share the work must not leave each other alone with it.
        is_alone = workers(self.training.strategy).workers == 1
        try:
            return self.validate(self.training.validation, interrupted if is_alone else lambda: False)
        except Stopped:
            return None

    def save(self) -> None:
        if self.checkpoint:
            self.progress.tick()
            training = self.training
            state = progress_state(self.progress, training.model, self.optimizer, training.stage, self.size)
            self.checkpoint.save(self.number, state)

    def save_if_due(self, **when: bool) -> None:
        if self.checkpoint and self.checkpoint.due(self.number, **when):
            self.save()


def _prepare(training: Training, checkpoint: Stage | None, state: State | None) -> _Run:
    """Makes what a training needs, as it is at its beginning or was when its state was saved."""
    model, strategy, config, stage = training.model, training.strategy, training.config, training.stage
    steps = int(training.train(0).cardinality())
    if steps < 1:
        raise UserError(
            f"an epoch needs a known number of batches. Received: {steps}",
            "give the data set one: dataset.apply(tf.data.experimental.assert_cardinality(N))",
        )
    planned_steps = steps * training.epochs
    with strategy.scope():
        optimizer = training.optimizer(planned_steps)
        optimizer.build(model.trainable_variables)
    size = shorten(steps, training.epochs, config.steps_per_call)
    loss = None if training.report_accuracy else training.loss
    traced_steps = config.profile_steps if workers(strategy).is_chief else ()
    return _Run(
        training,
        optimizer,
        size,
        take_progress(state, model, optimizer, strategy, stage, size) if state else Progress(),
        checkpoint,
        keras.callbacks.CallbackList(list(training.callbacks), model=model, epochs=size[1], steps=size[0]),
        Steps(planned_steps),
        StepTrace(traced_steps, config.profile_folder, stage),
        make_train_step(
            model,
            optimizer,
            strategy,
            training.loss,
            config,
            training.adversary,
            training.report_accuracy,
            planned=planned_steps,
        ),
        validator(
            model, strategy, training.metrics, training.validation_loss or loss, training.report_accuracy
        ),
    )


def _train(run: _Run) -> float:
    """Trains to the end, and returns the seconds that it took, those that a rehearsal left out included."""
    training, progress, epochs = run.training, run.progress, run.size[1]
    training.model.stop_training = False
    run.listeners.on_train_begin()
    elapsed = stopwatch()
    with run.trace, deferred_signals() if run.checkpoint else nullcontext(lambda: False) as interrupted:
        stop = False
        if progress.epoch == progress.step == 0:
            stop = _begin(run, interrupted)
        while progress.epoch < epochs and not progress.stopped and not stop:
            progress.begin()
            stop = _train_epoch(run, interrupted)
            with repeated(training.epochs / epochs):
                stop = stop or _end_epoch(run, interrupted)
        run.steps.close()
        if stop or interrupted():
            run.save()
    if stop:
        raise WorkerLost("another process of the job was told to stop")
    if progress.diverged and progress.best_weights is None:
        stage, epoch = training.stage or "the training", progress.epoch + 1
        raise UserError(
            f"{stage} diverged: the loss of epoch {epoch} is not finite",
            "choose a lower learning rate, or `clip_norm=1`",
        )
    return elapsed()


def _reported_epochs(progress: Progress, planned_epochs: int, seconds: float) -> tuple[dict[str, float], ...]:
    """Returns the history; in a rehearsal that of the run, with the seconds that it would take."""
    if not under_way() or not progress.history:
        return tuple(progress.history)
    last = {**progress.history[-1], "seconds": seconds / planned_epochs}
    return tuple({**last, "epoch": epoch} for epoch in range(planned_epochs))


def _train_epoch(run: _Run, interrupted: Callable[[], bool]) -> bool:
    """Trains the rest of an epoch, and returns whether the training is to stop."""
    progress, (steps, epochs), training = run.progress, run.size, run.training
    strategy, config = training.strategy, training.config
    is_multi_worker = workers(strategy).workers > 1
    # All processes stop after the same step: the one whose sums say that one of them is to stop.
    stop, go_on = tf.constant(1.0), tf.constant(0.0)
    if progress.step == 0:
        run.listeners.on_epoch_begin(progress.epoch)
    name = f"{training.stage} {progress.epoch + 1}/{epochs}" if training.stage else ""
    start_time, start_progress = time.perf_counter(), (progress.sums, progress.waiting)
    with progress_bar(name, steps, strategy) as bar, lost_workers_noticed(strategy):
        bar.update(progress.step)
        remaining_batches = training.train(progress.epoch).skip(progress.step)
        shares = iter(distribute(remaining_batches, strategy, config.accumulate, config.data_service))
        while progress.step < steps:
            count = min(config.steps_per_call, steps - progress.step)
            run.listeners.on_train_batch_begin(progress.step)
            with run.steps.timed(count), run.trace.step(run.number + 1, count):
                sums, wait_seconds = run.train_step(shares, count, stop if interrupted() else go_on)
                progress.sums += sums
                if under_way():
                    # A GPU is done when its results are there.
                    progress.sums.numpy()
            progress.waiting += wait_seconds
            progress.step += count
            run.listeners.on_train_batch_end(progress.step - 1)
            if not bar.disable and progress.step % 10 <= count:
                _show(bar, run, start_progress, time.perf_counter() - start_time)
            bar.update(count)
            if bar.n == count:
                _forget_tracing(bar)
            run.save_if_due()
            if progress.stop_asked() if is_multi_worker else interrupted():
                return True
    return False


def _begin(run: _Run, interrupted: Callable[[], bool]) -> bool:
    """Validates what the training begins with, and returns whether it is to stop before that has ended."""
    training = run.training
    model, strategy = training.model, training.strategy
    refresh_statistics(model, without_statistics(model), training.train(0), strategy)
    if training.validation is None or training.patience is None:
        return False
    logs = run.run_validation(interrupted)
    if logs is not None:
        run.progress.begin_with(logs, model, training.config.until)
    return logs is None


def _end_epoch(run: _Run, interrupted: Callable[[], bool]) -> bool:
    """Validates, and returns whether the training is to stop before that has ended."""
    progress, training = run.progress, run.training
    model, strategy = training.model, training.strategy
    logs = run.means()
    layers = batch_norms(model, trainable=True)
    with _averaged(model, run.optimizer, strategy):
        if layers:
            refresh_statistics(model, layers, training.train(progress.epoch), strategy)
        if training.validation is not None:
            validation_logs = run.run_validation(interrupted)
            if validation_logs is None:
                return True
            logs |= validation_logs
        run.listeners.on_epoch_end(progress.epoch, logs)
        progress.end_epoch(logs, model, training.patience, training.config.until)
    if not progress.diverged:
        _tell(training, progress.history[-1])
    run.save_if_due(epoch_ended=True)
    return False


def _tell(training: Training, epoch: dict[str, float]) -> None:
    if training.on_epoch and training.stage and workers(training.strategy).is_chief and not under_way():
        training.on_epoch(training.stage, epoch)


@contextmanager
def _averaged(model: keras.Model, optimizer, strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Gives a model the average of its weights, where the optimizer keeps one, within a block."""
    if not getattr(optimizer, "inner_optimizer", optimizer).use_ema:
        yield
        return
    weights = [variable.numpy() for variable in model.trainable_variables]
    with strategy.scope():
        optimizer.finalize_variable_values(model.trainable_variables)
        yield
        for variable, array in zip(model.trainable_variables, weights, strict=True):
            variable.assign(array)


def _forget_tracing(bar: tqdm) -> None:
    """Leaves the first step, in which TensorFlow traces, out of the time that a bar expects."""
    if not bar.disable:
        bar.initial, bar.start_t = bar.n, time.time()


def _show(bar: tqdm, run: _Run, start_progress: tuple[tf.Tensor, float], seconds: float) -> None:
    progress = run.progress
    postfix = {name: f"{value:.3g}" for name, value in run.means().items()}
    postfix["examples/s"] = f"{float((progress.sums - start_progress[0])[3]) / seconds:.3g}"
    wait_seconds = progress.waiting - start_progress[1]
    if math.isfinite(wait_seconds):
        postfix["waiting"] = f"{wait_seconds / seconds:.0%}"
    bar.set_postfix(postfix, refresh=False)
