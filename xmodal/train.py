"""One training loop and one prediction loop, for every model and every strategy.

Keras' own `fit` does not run under every tf.distribute strategy with Keras 3 (keras#20585); these
loops call the strategy themselves and let the Keras optimizer apply the reduced gradients.
"""

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from xmodal.checkpoint import RESTART, Checkpoints, Stage, State, deferred_signals
from xmodal.config import TrainConfig
from xmodal.errors import UserError, WorkerLost
from xmodal.strategy import lost_workers_noticed, workers

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class History:
    """What a training left: one dict an epoch.

    It has epoch, seconds, waiting (how many of them went by waiting for input), loss, accuracy, val_loss
    and val_accuracy.
    """

    stage: str
    epochs: tuple[dict[str, float], ...]


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """Returns the loss of labels (B,) and logits (B, C) for each example (B,), in nats."""

    def loss(labels, logits):
        one_hot = tf.one_hot(labels, tf.shape(logits)[-1])
        return keras.losses.categorical_crossentropy(
            one_hot, logits, from_logits=True, label_smoothing=label_smoothing
        )

    return loss


def one_cycle(
    peak: float, steps: int, *, warmup: float = 0.1
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns a learning rate that rises to `peak` over a share of the steps, then falls as a cosine to 0."""
    rise = max(1, round(warmup * steps))
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0, decay_steps=max(1, steps - rise), warmup_target=peak, warmup_steps=rise
    )


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that rises linearly from 0, and then stays or falls linearly to 0.

    Args:
        peak: the highest rate.
        rise: steps of the rise.
        fall: steps of the fall, 0 for none.
    """

    def __init__(self, peak: float, rise: int, fall: int):
        self.peak, self.rise, self.fall = peak, rise, fall

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        risen = tf.minimum(step / max(1, self.rise), 1.0) if self.rise else 1.0
        left = tf.clip_by_value((self.rise + self.fall - step) / self.fall, 0.0, 1.0) if self.fall else 1.0
        return self.peak * risen * left

    def get_config(self):
        """Returns the arguments."""
        return {"peak": self.peak, "rise": self.rise, "fall": self.fall}


def optimizer_maker(config: TrainConfig, peak: float) -> Callable[[int], keras.optimizers.Optimizer]:
    """Returns what `fit` takes: the number of all steps -> the optimizer that a configuration asks for.

    AdamW is that of Loshchilov and Hutter 2019 (arXiv:1711.05101).

    Args:
        config: its optimizer, schedule, warmup, weight_decay, ema and precision.
        peak: the highest learning rate.
    """

    def make(steps: int) -> keras.optimizers.Optimizer:
        rise = round(config.warmup * steps)
        if config.schedule == "cosine":
            rate = one_cycle(peak, steps, warmup=config.warmup)
        else:
            rate = WarmUp(peak, rise, steps - rise if config.schedule == "linear" else 0)
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
    """Batches examples that are held in memory.

    Args:
        inputs: an array (N, ...) or a dict of them.
        labels: int (N,), zeros by default.
        weights: float (N,), ones by default.
        batch_size: B.
        shuffle_seed: numbers that set the order, such as (seed, epoch); None keeps the order.

    Returns:
        Batches of (inputs, labels (B,), weights (B,)).
    """
    size = len(keras.tree.flatten(inputs)[0])
    labels = np.zeros(size, np.int32) if labels is None else labels.astype(np.int32)
    weights = np.ones(size, np.float32) if weights is None else weights.astype(np.float32)
    order = np.arange(size) if shuffle_seed is None else np.random.default_rng(shuffle_seed).permutation(size)
    held = keras.tree.map_structure(tf.convert_to_tensor, (inputs, labels, weights))

    def take(index):
        return tf.nest.map_structure(lambda array: tf.gather(array, index), held)

    return tf.data.Dataset.from_tensor_slices(order).batch(batch_size).map(take).prefetch(2)


def fit(
    model: keras.Model,
    train: Callable[[int], tf.data.Dataset],
    *,
    loss: Loss,
    optimizer: Callable[[int], keras.optimizers.Optimizer],
    epochs: int,
    strategy: tf.distribute.Strategy,
    stage: str,
    validation: tf.data.Dataset | None = None,
    patience: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    checkpoints: Checkpoints | None = None,
    config: TrainConfig | None = None,
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
            best epoch are restored in any case. None trains to the end and keeps the last weights.
        callbacks: Keras callbacks; their logs are the entries of the history. What they hold
            themselves is not saved: `on_train_begin` is called anew when a training goes on.
        checkpoints: where the state is saved. What is found there is gone on with, to the same end
            as if it had not been interrupted; a finished training is not run again. SIGTERM and
            Ctrl-C wait for the step's end and save.
        config: its clip_norm, accumulate and jit are for here: the norm that the gradient of the whole
            global batch is clipped to (0: none); parts in which a device passes its share of a batch
            through, which changes memory and no result but batch normalisation and dropout; XLA.

    Returns:
        The `History`.

    Raises:
        UserError: when what is found belongs to another training or cannot be used.
        WorkerLost: when another process of the job died, or was told to stop.
    """
    kept = checkpoints.stage(stage) if checkpoints else None
    found = _newest(kept, strategy) if kept else None
    if found and found[1]:
        return _take_result(found[0], model, strategy, stage)
    steps = int(train(0).cardinality())
    with strategy.scope():
        applied = optimizer(steps * epochs)
        applied.build(model.trainable_variables)
    progress = _Progress()
    if found:
        progress = _take_progress(found[0], model, applied, strategy, stage, (steps, epochs))
    config = config or TrainConfig()
    step = _train_step(model, loss, applied, strategy, config)
    validate = validator(model, strategy)
    listeners = keras.callbacks.CallbackList(list(callbacks), model=model, epochs=epochs, steps=steps)
    model.stop_training = False
    listeners.on_train_begin()
    with deferred_signals() if kept else nullcontext(lambda: False) as interrupted:

        def save() -> None:
            number = progress.epoch * steps + progress.step
            if kept:
                kept.save(number, _progress_state(progress, model, applied, stage, (steps, epochs)))

        def step_ended() -> None:
            if kept and kept.due(progress.epoch * steps + progress.step):
                save()

        while progress.epoch < epochs and not progress.stopped:
            started = time.perf_counter() - progress.seconds
            name = f"{stage} {progress.epoch + 1}/{epochs}" if stage else ""
            with progress_bar(name, steps, strategy) as bar, lost_workers_noticed(strategy):
                batches = _distributed(train(progress.epoch).skip(progress.step), strategy, config.accumulate)
                stop = _train_epoch(
                    step, batches, strategy, progress, listeners, bar, step_ended, interrupted
                )
            progress.seconds = time.perf_counter() - started
            if stop:
                break
            logs = _means(progress.sums)
            with _averaged(model, applied, strategy):
                if validation is not None:
                    logs |= validate(validation)
                listeners.on_epoch_end(progress.epoch, logs)
                progress.seconds = time.perf_counter() - started
                _end_epoch(progress, logs, model, patience)
            if kept and kept.due(progress.epoch * steps, epoch_ended=True):
                save()
        else:
            stop = False
        if stop or interrupted():
            save()
    if stop:
        raise WorkerLost("another process of the job was told to stop")
    if progress.best_weights is not None:
        model.set_weights(progress.best_weights)
    else:
        with strategy.scope():
            applied.finalize_variable_values(model.trainable_variables)
    listeners.on_train_end()
    if kept:
        kept.finish(_result_state(progress, model, stage))
    return History(stage, tuple(progress.history))


@dataclass
class _Progress:
    """How far a training is.

    Attributes:
        epoch: the epoch that is trained, from 0.
        step: its next step.
        sums: over its steps so far: loss, hits and weights of the examples, and processes that are to
            stop (4,).
        seconds: that it took so far.
        waiting: how many of them went by waiting for input.
        history: of the epochs before it.
        best: the lowest validation loss so far.
        best_weights: those that gave it.
        wait: epochs since then.
        stopped: no further epoch is to follow.
    """

    epoch: int = 0
    step: int = 0
    sums: tf.Tensor = field(default_factory=lambda: tf.zeros(4))
    seconds: float = 0.0
    waiting: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best: float = float("inf")
    best_weights: list[np.ndarray] | None = None
    wait: int = 0
    stopped: bool = False


def _end_epoch(progress: _Progress, logs: dict[str, float], model: keras.Model, patience: int | None) -> None:
    progress.history.append(
        {"epoch": progress.epoch, "seconds": progress.seconds, "waiting": progress.waiting, **logs}
    )
    if patience is not None and "val_loss" in logs:
        if logs["val_loss"] < progress.best:
            progress.best, progress.best_weights, progress.wait = logs["val_loss"], model.get_weights(), 0
        else:
            progress.wait += 1
        progress.stopped = progress.wait >= patience
    progress.stopped |= bool(model.stop_training)
    progress.epoch, progress.step = progress.epoch + 1, 0
    progress.seconds, progress.waiting, progress.sums = 0.0, 0.0, tf.zeros(4)


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


def _progress_state(progress: _Progress, model, optimizer, stage: str, size: tuple[int, int]) -> State:
    arrays = {
        **_numbered("model", [variable.numpy() for variable in model.variables]),
        **_numbered("optimizer", [variable.numpy() for variable in optimizer.variables]),
        **_numbered("best", progress.best_weights or []),
        "sums": progress.sums.numpy() * [1, 1, 1, 0],
    }
    facts = {
        "stage": stage,
        "size": list(size),
        "epoch": progress.epoch,
        "step": progress.step,
        "seconds": progress.seconds,
        "waiting": progress.waiting,
        "history": progress.history,
        "best": progress.best,
        "wait": progress.wait,
        "stopped": progress.stopped,
    }
    return State(arrays, facts)


def _take_progress(state: State, model, optimizer, strategy, stage: str, size: tuple[int, int]) -> _Progress:
    facts = state.facts
    if facts.get("stage") != stage or facts.get("size") != list(size):
        raise _foreign(
            stage,
            f"it is of {facts.get('stage')!r} with {facts.get('size')} steps an epoch and epochs, "
            f"not of {list(size)}",
        )
    _assign(model.variables, _listed(state, "model"), strategy, stage)
    _assign(optimizer.variables, _listed(state, "optimizer"), strategy, stage)
    taken = ("epoch", "step", "seconds", "waiting", "history", "best", "wait", "stopped")
    return _Progress(
        sums=tf.constant(state.arrays["sums"], tf.float32),
        best_weights=_listed(state, "best") or None,
        **{name: facts[name] for name in taken},
    )


def _result_state(progress: _Progress, model: keras.Model, stage: str) -> State:
    arrays = _numbered("model", [variable.numpy() for variable in model.variables])
    return State(arrays, {"stage": stage, "history": progress.history})


def _take_result(state: State, model: keras.Model, strategy, stage: str) -> History:
    if state.facts.get("stage") != stage:
        raise _foreign(stage, f"it is of {state.facts.get('stage')!r}")
    _assign(model.variables, _listed(state, "model"), strategy, stage)
    return History(stage, tuple(state.facts["history"]))


def _newest(kept: Stage, strategy: tf.distribute.Strategy) -> tuple[State, bool] | None:
    """Reads what the chief finds, in every process: only the chief needs to see the files."""
    place = workers(strategy)
    found = kept.newest() if place.is_chief else None
    if place.workers == 1:
        return found
    text = b""
    if found:
        file = io.BytesIO()
        np.savez(file, **dict[str, Any](found[0].arrays))
        facts = json.dumps({"facts": found[0].facts, "finished": found[1]}).encode()
        text = len(facts).to_bytes(8) + facts + file.getvalue()
    with lost_workers_noticed(strategy):
        size = int(_from_chief(np.array([len(text)], np.int64), strategy)[0])
        if size == 0:
            # TensorFlow crashes when it reduces an empty array across processes.
            return None
        words = np.zeros(-(-size // 4), np.int32)
        words.view(np.uint8)[: len(text)] = np.frombuffer(text, np.uint8)
        text = _from_chief(words, strategy).tobytes()[:size]
    end = 8 + int.from_bytes(text[:8])
    told = json.loads(text[8:end])
    with np.load(io.BytesIO(text[end:])) as arrays:
        return State(dict(arrays), told["facts"]), told["finished"]


def _from_chief(array: np.ndarray, strategy: tf.distribute.Strategy) -> np.ndarray:
    """Returns the chief's array, in every process; the others give one of its shape."""

    @tf.function
    def summed(own):
        def replica(own):
            first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
            return own * tf.cast(first, own.dtype)

        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(replica, (own,)), axis=None)

    return summed(tf.constant(array)).numpy()


def _numbered(kind: str, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{kind}/{number}": array for number, array in enumerate(arrays)}


def _listed(state: State, kind: str) -> list[np.ndarray]:
    count = sum(name.startswith(f"{kind}/") for name in state.arrays)
    return [state.arrays[f"{kind}/{number}"] for number in range(count)]


def _assign(variables, arrays: Sequence[np.ndarray], strategy, stage: str) -> None:
    if len(variables) != len(arrays):
        raise _foreign(stage, f"it has {len(arrays)} arrays for {len(variables)} variables")
    for variable, array in zip(variables, arrays, strict=True):
        if tuple(variable.shape) != array.shape:
            raise _foreign(stage, f"its {array.shape} stands for {variable.path} {tuple(variable.shape)}")
    with strategy.scope():
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)


def _foreign(stage: str, why: str) -> UserError:
    return UserError(f"the checkpoint of {stage!r} belongs to another training: {why}", RESTART)


def predict(
    model: Callable,
    batches: tf.data.Dataset,
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
    found = _newest(kept, strategy) if kept else None
    facts = {"stage": stage, "batches": int(batches.cardinality())}
    if found:
        if found[0].facts != facts:
            raise _foreign(stage, f"it is of {found[0].facts}")
        return found[0].arrays["outputs"]

    def outputs(*batch):
        return (model(batch[0], training=False),)

    array = _mapper(outputs, strategy)(batches, stage)[0]
    if kept:
        kept.finish(State({"outputs": array}, facts))
    return array


def validator(
    model: Callable, strategy: tf.distribute.Strategy
) -> Callable[[tf.data.Dataset], dict[str, float]]:
    """Returns a function of (inputs, labels, weights) batches that gives val_loss, in nats, and val_accuracy.

    Both are weighted means. The function is traced once, however often it is called.
    """
    loss = cross_entropy()

    def outcomes(inputs, labels, weights):
        logits = tf.cast(model(inputs, training=False), tf.float32)
        return loss(labels, logits), tf.argmax(logits, axis=1, output_type=labels.dtype) == labels, weights

    run = _mapper(outcomes, strategy)

    def validate(batches: tf.data.Dataset) -> dict[str, float]:
        losses, hits, weights = run(batches)
        return {
            "val_loss": float(np.average(losses, weights=weights)),
            "val_accuracy": float(np.average(hits, weights=weights)),
        }

    return validate


def _mapper(function: Callable, strategy: tf.distribute.Strategy) -> Callable[..., tuple[np.ndarray, ...]]:
    """Returns what runs a function of batches on the devices and joins its outputs (B, ...), in order."""

    @tf.function(reduce_retracing=True)
    def step(batch):
        def replica(*batch):
            # Truth values and half precision cannot be gathered.
            narrow = (tf.bool, tf.bfloat16, tf.float16)
            outputs = function(*batch[:-1])
            wide = [tf.cast(output, tf.float32) if output.dtype in narrow else output for output in outputs]
            return *wide, batch[-1]

        # Each process gets the outputs of all.
        return [strategy.gather(output, axis=0) for output in strategy.run(replica, batch)]

    def with_mask(*batch):
        return *batch, tf.ones(tf.shape(tf.nest.flatten(batch)[0])[0], tf.int32)

    def run(batches: tf.data.Dataset, stage: str = "") -> tuple[np.ndarray, ...]:
        joined = []
        with progress_bar(stage, int(batches.cardinality()), strategy) as bar, lost_workers_noticed(strategy):
            for batch in _distributed(batches.map(with_mask), strategy):
                *outputs, real = (output.numpy() for output in step(batch))
                joined.append([output[real.astype(bool)] for output in outputs])
                bar.update()
        return tuple(map(np.concatenate, zip(*joined, strict=True)))

    return run


def _distributed(batches: tf.data.Dataset, strategy: tf.distribute.Strategy, parts_each: int = 1):
    """Splits each batch over the devices, after its last example has filled it up to equal parts.

    A device's share is filled up so that it can be cut into `parts_each` equal parts.

    TensorFlow's fused convolutions refuse an empty part. What was filled up gets zeros in the last
    element of the batch, be it weights or a mask, and so does not count. Every process reads the same
    batches and takes its own rows: which rows a device gets does not depend on how TensorFlow would
    shard the data set.
    """
    replicas = strategy.num_replicas_in_sync

    def filled(*batch):
        size = tf.shape(batch[-1])[0]
        index = tf.range(size + -size % (replicas * parts_each))
        rows = tf.nest.map_structure(lambda part: tf.gather(part, tf.minimum(index, size - 1)), batch)
        real = tf.cast(index < size, tf.float32)
        return *rows[:-1], tf.cast(tf.cast(rows[-1], tf.float32) * real, batch[-1].dtype)

    def own_parts(context: tf.distribute.InputContext) -> tf.data.Dataset:
        local = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * local

        def parts(*batch):
            size = tf.shape(batch[-1])[0] // replicas
            rows = tf.range(first * size, (first + local) * size)

            def cut(part):
                shape = tf.concat([[local, size], tf.shape(part)[1:]], axis=0)
                return tf.ensure_shape(
                    tf.reshape(tf.gather(part, rows), shape), [local, None, *part.shape[1:]]
                )

            return tf.nest.map_structure(cut, batch)

        return batches.map(filled).map(parts).unbatch().prefetch(2 * local)

    if replicas == 1:
        return strategy.experimental_distribute_dataset(batches.map(filled) if parts_each > 1 else batches)
    return strategy.distribute_datasets_from_function(own_parts)


def _train_step(
    model, loss: Loss, optimizer, strategy: tf.distribute.Strategy, config: TrainConfig
) -> Callable:
    """Returns a function of a batch and of whether this process is to stop.

    It gives the sums over the batch of loss, hits and weights, and how many processes are to stop.
    """
    replicas = strategy.num_replicas_in_sync
    statistics = _moving_statistics(model) if replicas > 1 else []
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    whole = config.accumulate > 1 or config.clip_norm > 0

    def differentiate(inputs, labels, weights, total):
        with tf.GradientTape() as tape:
            logits = tf.cast(model(inputs, training=True), tf.float32)
            weighted = tf.reduce_sum(loss(labels, logits) * weights)
            # The optimizer sums the gradients of the replicas.
            objective = optimizer.scale_loss(weighted / total) if scaled else weighted / total
        gradients = tape.gradient(objective, [variable.value for variable in model.trainable_variables])
        if whole:
            # Rows of embeddings are added up, and what has no part in the loss has a gradient of zero.
            gradients = [
                tf.zeros(variable.shape) if gradient is None else tf.convert_to_tensor(gradient)
                for gradient, variable in zip(gradients, model.trainable_variables, strict=True)
            ]
        hits = tf.cast(tf.argmax(logits, axis=1, output_type=labels.dtype) == labels, weights.dtype)
        return gradients, tf.stack([weighted, tf.reduce_sum(hits * weights), tf.reduce_sum(weights)])

    if config.jit == "on" or (config.jit == "auto" and tf.config.list_physical_devices("GPU")):
        differentiate = tf.function(differentiate, jit_compile=True)

    def replica(inputs, labels, weights, stop):
        context = tf.distribute.get_replica_context()
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.reduce_sum(weights))
        if config.accumulate == 1:
            gradients, sums = differentiate(inputs, labels, weights, total)
        else:
            shapes = [variable.shape for variable in model.trainable_variables]
            batch = (inputs, labels, weights)
            gradients, sums = _in_parts(differentiate, batch, total, shapes, config.accumulate)
        if config.clip_norm:
            limit = config.clip_norm * (optimizer.dynamic_scale.value if scaled else 1.0)
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            gradients, _ = tf.clip_by_global_norm(gradients, limit)
            gradients = [gradient / replicas for gradient in gradients]
        optimizer.apply(gradients, model.trainable_variables)
        for variable in statistics:
            own = tf.convert_to_tensor(variable.value)
            variable.assign(context.all_reduce(tf.distribute.ReduceOp.MEAN, own))
        return tf.concat([sums, [stop]], axis=0)

    @tf.function
    def step(batch, stop):
        outcomes = strategy.run(replica, (*batch, stop))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, outcomes, axis=None)

    return step


def _in_parts(differentiate: Callable, batch, total, shapes, parts: int):
    """Adds up what `differentiate` gives for equal parts of a batch, one after the other."""

    def cut(rows):
        return tf.reshape(rows, tf.concat([[parts, tf.shape(rows)[0] // parts], tf.shape(rows)[1:]], axis=0))

    held = tf.nest.map_structure(cut, batch)

    def add(number, gradients, sums):
        part = tf.nest.map_structure(
            lambda rows, whole: tf.ensure_shape(rows[number], [None, *whole.shape[1:]]), held, batch
        )
        more, counted = differentiate(*part, total)
        return number + 1, [a + b for a, b in zip(gradients, more, strict=True)], sums + counted

    start = (tf.constant(0), [tf.zeros(shape) for shape in shapes], tf.zeros(3))
    # One at a time, or nothing would be saved.
    _, gradients, sums = tf.while_loop(lambda number, *_: number < parts, add, start, parallel_iterations=1)
    return gradients, sums


def _moving_statistics(model: keras.Model) -> list[keras.Variable]:
    """What batch normalisation learns from the data that its own device sees, to be averaged over all."""
    return [
        variable
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        for variable in (layer.moving_mean, layer.moving_variance)
    ]


def _train_epoch(step, batches, strategy, progress, listeners, bar, step_ended, interrupted) -> bool:
    """Trains the rest of an epoch, and returns whether it was to stop before the next one."""
    several = workers(strategy).workers > 1
    # Processes stop after the same step: after the one that told all of them that one is to.
    stop, go = tf.constant(1.0), tf.constant(0.0)
    if progress.step == 0:
        listeners.on_epoch_begin(progress.epoch)
    bar.update(progress.step)
    started, waited, examples = time.perf_counter(), 0.0, 0
    for batch, seconds in _timed(batches):
        waited += seconds
        progress.waiting += seconds
        listeners.on_train_batch_begin(progress.step)
        progress.sums += step(batch, stop if interrupted() else go)
        listeners.on_train_batch_end(progress.step)
        progress.step += 1
        if not bar.disable:
            rows = strategy.experimental_local_results(batch[1])
            examples += sum(len(part) for part in rows) * workers(strategy).workers
            if progress.step % 10 == 1:
                _tell(bar, progress.sums, examples, waited, time.perf_counter() - started)
        bar.update()
        step_ended()
        if (progress.sums[3].numpy() > 0) if several else interrupted():
            return True
    return False


def _timed(batches) -> Iterator[tuple[Any, float]]:
    """Yields each batch, and the seconds that were waited for it."""
    iterator = iter(batches)
    while True:
        started = time.perf_counter()
        try:
            batch = next(iterator)
        except StopIteration:
            return
        yield batch, time.perf_counter() - started


def _tell(bar: tqdm, sums: tf.Tensor, examples: int, waited: float, seconds: float) -> None:
    means = {name: f"{value:.3g}" for name, value in _means(sums).items()}
    bar.set_postfix(
        means | {"examples/s": f"{examples / seconds:.3g}", "waiting": f"{waited / seconds:.0%}"},
        refresh=False,
    )


def _means(sums: tf.Tensor) -> dict[str, float]:
    loss, hits, weight, _ = sums.numpy()
    return {"loss": float(loss / weight), "accuracy": float(hits / weight)}


def progress_bar(name: str, steps: int, strategy: tf.distribute.Strategy) -> tqdm:
    """Returns a progress bar on the chief's terminal, and a silent one elsewhere or without a name."""
    shown = name and workers(strategy).is_chief
    return tqdm(total=steps, desc=name, leave=False, disable=None if shown else True)
