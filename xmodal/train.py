"""One training loop and one prediction loop, for every model and every strategy.

Keras' own `fit` does not run under every tf.distribute strategy with Keras 3 (keras#20585); these
loops call the strategy themselves and let the Keras optimizer apply the reduced gradients.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from xmodal.batch_norm import batch_norms, refresh_statistics, without_statistics
from xmodal.checkpoint import Checkpoints, Stage, State, deferred_signals
from xmodal.config import TrainConfig
from xmodal.convolutions import quickly
from xmodal.data.reading import Batches
from xmodal.data.rows import Rows
from xmodal.data.tokens import targets_of
from xmodal.errors import UserError, WorkerLost
from xmodal.progress import (
    Progress,
    foreign,
    newest,
    progress_state,
    result_state,
    take_progress,
    take_result,
)
from xmodal.rehearsal import Steps, repeated, shortened, stopwatch, under_way
from xmodal.replicas import Stopped, distributed, mapped, progress_bar
from xmodal.step_trace import StepTrace
from xmodal.steps import Adversary, Loss, hits, step_taker
from xmodal.strategy import lost_workers_noticed, workers


@dataclass(frozen=True)
class History:
    """What a training left.

    Attributes:
        stage: its name.
        epochs: a dict for each epoch, with epoch, seconds, waiting (how many of them went by waiting for
            input; not with several steps a call), loss, accuracy, val_loss and val_accuracy.
        start: val_loss and val_accuracy before the first step, where weights were chosen on validation.

    In a rehearsal it is as long as that of the run, and its seconds are those that the run would take.
    """

    stage: str
    epochs: tuple[dict[str, float], ...]
    start: dict[str, float] = field(default_factory=dict)

    @property
    def kept(self) -> dict[str, float]:
        """val_loss and val_accuracy of the weights that were kept, where they were chosen on validation."""
        return min([*([self.start] if self.start else []), *self.epochs], key=lambda entry: entry["val_loss"])

    @property
    def seconds(self) -> float:
        """Seconds of all epochs."""
        return sum(entry["seconds"] for entry in self.epochs)


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """Returns the loss of labels and logits (B, C) for each example (B,), in nats.

    Labels are class indices (B,), or distributions over the classes (B, C): of these the loss is the
    cross-entropy, which is least where the model's probabilities are the same.
    """

    def loss(labels, logits):
        shares = labels if labels.shape.rank == 2 else tf.one_hot(labels, tf.shape(logits)[-1])
        return keras.losses.categorical_crossentropy(
            shares, logits, from_logits=True, label_smoothing=label_smoothing
        )

    return loss


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that rises linearly from 0, and then stays, or falls to 0 linearly or as a cosine.

    Keras' schedules branch in the graph, and its weight decay asks for the rate once for every variable:
    a hundred branches take seconds to trace and to compile.

    Args:
        peak: the highest rate.
        rise: steps of the rise.
        fall: steps of the fall, 0 for none.
        cosine: fall as a cosine (Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5).
    """

    def __init__(self, peak: float, rise: int, fall: int, cosine: bool = False):
        self.peak, self.rise, self.fall, self.cosine = peak, rise, fall, cosine

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        risen = tf.minimum(step / self.rise, 1.0) if self.rise else 1.0
        left = tf.clip_by_value((self.rise + self.fall - step) / self.fall, 0.0, 1.0) if self.fall else 1.0
        if self.cosine:
            left = (1 - tf.cos(math.pi * left)) / 2
        return self.peak * risen * left

    def get_config(self):
        """Returns the arguments."""
        return {"peak": self.peak, "rise": self.rise, "fall": self.fall, "cosine": self.cosine}


def optimizer_maker(config: TrainConfig, peak: float) -> Callable[[int], keras.optimizers.Optimizer]:
    """Returns what `fit` takes: the number of all steps -> the optimizer that a configuration asks for.

    AdamW is that of Loshchilov and Hutter 2019 (arXiv:1711.05101).

    Args:
        config: its optimizer, schedule, warmup, weight_decay, ema and precision.
        peak: the highest learning rate.
    """

    def make(steps: int) -> keras.optimizers.Optimizer:
        cosine = config.schedule == "cosine"
        # A cosine rises in one step at least, as that of Keras.
        rise = max(int(cosine), round(config.warmup * steps))
        fall = 0 if config.schedule == "constant" else max(1, steps - rise)
        rate = WarmUp(peak, rise, fall, cosine)
        options = {
            "weight_decay": config.weight_decay,
            "use_ema": config.ema > 0,
            "ema_momentum": config.ema,
        }
        optimizer = (
            keras.optimizers.AdamW(rate, **options)
            if config.optimizer == "adamw"
            else keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **options)
        )
        if config.precision == "mixed_float16":
            return keras.optimizers.LossScaleOptimizer(optimizer)
        return optimizer

    return make


def array_batches(
    inputs: Any,
    labels: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    *,
    batch_size: int,
    shuffle_seed: Sequence[int] | None = None,
) -> tf.data.Dataset:
    """Batches examples that are held in memory, or rows that may be stored.

    Args:
        inputs: an array or `Rows` (N, ...), or a dict of them.
        labels: int (N,), zeros by default, or distributions over classes (N, C).
        weights: float (N,), ones by default.
        batch_size: B.
        shuffle_seed: numbers that set the order, such as (seed, epoch); None keeps the order.

    Returns:
        Batches of (inputs, labels (B,) or (B, C), weights (B,)).
    """
    size = len(keras.tree.flatten(inputs)[0])
    labels = targets_of(labels, size)
    weights = np.ones(size, np.float32) if weights is None else weights.astype(np.float32)
    order = np.arange(size) if shuffle_seed is None else np.random.default_rng(shuffle_seed).permutation(size)
    takers = keras.tree.map_structure(_taker, (inputs, labels, weights))

    def take(index):
        return keras.tree.map_structure(lambda taker: taker(index), takers)

    return tf.data.Dataset.from_tensor_slices(order).batch(batch_size).map(take).prefetch(2)


def _taker(array: np.ndarray | Rows) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns what gives the rows (B, ...) with the numbers (B,), in-graph."""
    if not isinstance(array, Rows):
        return partial(tf.gather, tf.convert_to_tensor(array))

    def take(index):
        rows = tf.numpy_function(array.__getitem__, [index], array.dtype, stateful=False)
        return tf.ensure_shape(rows, (None, *array.shape[1:]))

    return take


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
    `xmodal.batch_norm`, and before the first one where it has none.

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
    trace = StepTrace(config.profile_steps if workers(strategy).is_chief else None, stage)
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
    return History(stage, _told_epochs(progress, planned, elapsed()), progress.start)


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


def predict(
    model: Callable,
    batches: tf.data.Dataset | Batches,
    strategy: tf.distribute.Strategy,
    *,
    stage: str = "",
    checkpoints: Checkpoints | None = None,
) -> np.ndarray:
    """Runs a model over a data set, in order.

    Args:
        model: inputs -> outputs (B, ...).
        batches: batches of inputs, or of tuples that begin with them.
        strategy: the tf.distribute strategy that the model was built in.
        stage: name on the progress bar, and in the checkpoints; "" shows none.
        checkpoints: where the outputs are kept: a finished prediction is not run again.

    Returns:
        The outputs (N, ...) as one array.

    Raises:
        UserError: when what is kept belongs to another prediction or cannot be used.
    """
    kept = checkpoints.stage(stage) if checkpoints else None
    found = newest(kept, strategy) if kept else None
    facts = {"stage": stage, "batches": int(batches.cardinality())}
    if found:
        if found[0].facts != facts:
            raise foreign(stage, f"it is of {found[0].facts}")
        return found[0].arrays["outputs"]

    def outputs(batch):
        inputs = batch[0] if isinstance(batch, tuple) else batch
        return (quickly(model, inputs, training=False),)

    (array,) = mapped(outputs, strategy)(batches, stage)
    if kept:
        kept.finish(State({"outputs": array}, facts))
    return array


def validator(
    model: Callable,
    strategy: tf.distribute.Strategy,
    metrics: Sequence[keras.metrics.Metric] = (),
    loss: Loss | None = None,
) -> Callable[..., dict[str, float]]:
    """Returns a function of (inputs, labels, weights) batches that gives val_loss, in nats, and val_accuracy.

    Both are weighted means. Keras metrics of labels, logits and weights are updated in every process with
    the outputs of all devices, so that they need not know of any. The function is traced once, however
    often it is called. It also takes what tells between two batches whether to raise `Stopped`. With another
    loss than that of logits, there is no accuracy.
    """
    of_logits = cross_entropy()

    def outcomes(batch):
        inputs, labels, weights = batch
        logits = tf.cast(quickly(model, inputs, training=False), tf.float32)
        if loss is not None:
            return loss(labels, logits), weights
        right = hits(labels, logits)
        return of_logits(labels, logits), right, weights, *((labels, logits) if metrics else ())

    run = mapped(outcomes, strategy)

    def validate(batches, stopped: Callable[[], bool] = lambda: False) -> dict[str, float]:
        if loss is not None:
            losses, weights = run(batches, stopped=stopped)
            return {"val_loss": float(np.average(losses, weights=weights))}
        losses, right, weights, *answers = run(batches, stopped=stopped)
        for metric in metrics:
            metric.reset_state()
            metric.update_state(*answers, sample_weight=weights)
        return {
            "val_loss": float(np.average(losses, weights=weights)),
            "val_accuracy": float(np.average(right, weights=weights)),
            **{f"val_{metric.name}": float(metric.result()) for metric in metrics},
        }

    return validate


def _tell(bar: tqdm, run: _Training, before: tuple[tf.Tensor, float], seconds: float) -> None:
    progress = run.progress
    told = {name: f"{value:.3g}" for name, value in run.means().items()}
    told["examples/s"] = f"{float((progress.sums - before[0])[3]) / seconds:.3g}"
    waited = progress.waiting - before[1]
    if math.isfinite(waited):
        told["waiting"] = f"{waited / seconds:.0%}"
    bar.set_postfix(told, refresh=False)
