"""One training loop and one prediction loop, for every model and every strategy.

Keras' own `fit` does not run under every tf.distribute strategy with Keras 3 (keras#20585); these
loops call the strategy themselves and let the Keras optimizer apply the reduced gradients.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class History:
    """What a training left: one dict an epoch with epoch, seconds, loss, accuracy, val_loss, val_accuracy."""

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


def adamw(peak: float, steps: int, *, weight_decay: float = 0.01) -> keras.optimizers.Optimizer:
    """Returns AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) with a one-cycle rate."""
    return keras.optimizers.AdamW(one_cycle(peak, steps), weight_decay=weight_decay)


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
) -> History:
    """Trains a model.

    Args:
        model: inputs -> logits (B, C), built in the strategy's scope.
        train: epoch (from 0) -> batches of (inputs, labels (B,), weights (B,)).
        loss: (labels, logits) -> losses (B,). A step minimises their mean, weighted by the weights
            over the whole global batch, so that the number of devices does not matter.
        optimizer: the number of all steps -> a Keras optimizer.
        epochs: the most epochs.
        strategy: the tf.distribute strategy.
        stage: what progress and history call this training.
        validation: batches as `train` gives, kept out of training.
        patience: epochs without a lower validation loss before training stops; the weights of the
            best epoch are restored in any case. None trains to the end and keeps the last weights.
        callbacks: Keras callbacks; their logs are the entries of the history.

    Returns:
        The `History`.
    """
    steps = int(train(0).cardinality())
    with strategy.scope():
        applied = optimizer(steps * epochs)
        applied.build(model.trainable_variables)
    step = _train_step(model, loss, applied, strategy)
    validate = validator(model, strategy)
    callbacks = list(callbacks)
    if patience is not None and validation is not None:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                "val_loss", patience=patience, mode="min", restore_best_weights=True
            )
        )
    listeners = keras.callbacks.CallbackList(callbacks, model=model, epochs=epochs, steps=steps)
    model.stop_training = False
    history: list[dict[str, float]] = []
    listeners.on_train_begin()
    for epoch in range(epochs):
        started = time.perf_counter()
        listeners.on_epoch_begin(epoch)
        logs = _train_epoch(step, train(epoch), strategy, f"{stage} {epoch + 1}/{epochs}", steps, listeners)
        if validation is not None:
            logs |= validate(validation)
        listeners.on_epoch_end(epoch, logs)
        history.append({"epoch": epoch, "seconds": time.perf_counter() - started, **logs})
        if model.stop_training:
            break
    listeners.on_train_end()
    return History(stage, tuple(history))


def predict(
    model: Callable, batches: tf.data.Dataset, strategy: tf.distribute.Strategy, *, stage: str = ""
) -> np.ndarray:
    """Runs a model over a data set, in order.

    Args:
        model: inputs -> outputs (B, ...).
        batches: batches of inputs, or of tuples that begin with them.
        strategy: the tf.distribute strategy that the model was built in.
        stage: name on the progress bar; "" shows none.

    Returns:
        The outputs (N, ...) as one array.
    """

    def outputs(*batch):
        return (model(batch[0], training=False),)

    return _mapper(outputs, strategy)(batches, stage)[0]


def validator(
    model: Callable, strategy: tf.distribute.Strategy
) -> Callable[[tf.data.Dataset], dict[str, float]]:
    """Returns a function of (inputs, labels, weights) batches that gives val_loss, in nats, and val_accuracy.

    Both are weighted means. The function is traced once, however often it is called.
    """
    loss = cross_entropy()

    def outcomes(inputs, labels, weights):
        logits = model(inputs, training=False)
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
    def step(*batch):
        return strategy.run(lambda *batch: (*function(*batch[:-1]), batch[-1]), batch)

    def with_mask(*batch):
        return *batch, tf.ones(tf.shape(tf.nest.flatten(batch)[0])[0], tf.bool)

    def run(batches: tf.data.Dataset, stage: str = "") -> tuple[np.ndarray, ...]:
        joined = []
        with progress_bar(stage, int(batches.cardinality())) as bar:
            for batch in _distributed(batches.map(with_mask), strategy):
                devices = [strategy.experimental_local_results(output) for output in step(*batch)]
                for *outputs, real in zip(*devices, strict=True):
                    joined.append([output.numpy()[real.numpy()] for output in outputs])
                bar.update()
        return tuple(map(np.concatenate, zip(*joined, strict=True)))

    return run


def _distributed(batches: tf.data.Dataset, strategy: tf.distribute.Strategy):
    """Splits each batch over the devices, after its last example has filled it up to equal parts.

    TensorFlow's fused convolutions refuse an empty part. What was filled up gets zeros in the last
    element of the batch, be it weights or a mask, and so does not count.
    """
    replicas = strategy.num_replicas_in_sync

    def fill(*batch):
        size = tf.shape(batch[-1])[0]
        index = tf.range(size + -size % replicas)
        filled = tf.nest.map_structure(lambda part: tf.gather(part, tf.minimum(index, size - 1)), batch)
        real = tf.cast(index < size, tf.float32)
        return *filled[:-1], tf.cast(tf.cast(filled[-1], tf.float32) * real, batch[-1].dtype)

    return strategy.experimental_distribute_dataset(batches.map(fill) if replicas > 1 else batches)


def _train_step(model, loss: Loss, optimizer, strategy: tf.distribute.Strategy) -> Callable:
    def replica(inputs, labels, weights):
        context = tf.distribute.get_replica_context()
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.reduce_sum(weights))
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)
            weighted = tf.reduce_sum(loss(labels, logits) * weights)
            # The optimizer sums the gradients of the replicas.
            objective = weighted / total
        gradients = tape.gradient(objective, [variable.value for variable in model.trainable_variables])
        optimizer.apply(gradients, model.trainable_variables)
        hits = tf.cast(tf.argmax(logits, axis=1, output_type=labels.dtype) == labels, weights.dtype)
        return tf.stack([weighted, tf.reduce_sum(hits * weights), tf.reduce_sum(weights)])

    @tf.function
    def step(batch):
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(replica, batch), axis=None)

    return step


def _train_epoch(step, batches, strategy, name: str, steps: int, listeners) -> dict[str, float]:
    sums = tf.zeros(3)
    with progress_bar(name, steps) as bar:
        for index, batch in enumerate(_distributed(batches, strategy)):
            listeners.on_train_batch_begin(index)
            sums += step(batch)
            listeners.on_train_batch_end(index)
            if index % 10 == 0 and not bar.disable:
                bar.set_postfix(_means(sums), refresh=False)
            bar.update()
    return _means(sums)


def _means(sums: tf.Tensor) -> dict[str, float]:
    loss, hits, weight = sums.numpy()
    return {"loss": float(loss / weight), "accuracy": float(hits / weight)}


def progress_bar(name: str, steps: int) -> tqdm:
    """Returns a progress bar on a terminal, and a silent one elsewhere or without a name."""
    return tqdm(total=steps, desc=name, leave=False, disable=None if name else True)
