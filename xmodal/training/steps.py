"""Training steps on the devices of a strategy: gradients of replica batches, applied together."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import keras
import tensorflow as tf

from xmodal.config.training import TrainConfig
from xmodal.kernels.convolutions import call_fast
from xmodal.kernels.optimizer_step import is_fused, one_rate
from xmodal.training.progress import SUMS
from xmodal.training.replicas import moving_statistics, unpad

# Weights, and updates of single weights in all steps together, from which on compiling pays: it takes
# seconds, and saves a part of each step.
MANY_WEIGHTS = 1_000_000
MANY_UPDATES = 500_000_000

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
Adversary = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def hits(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns for each example (B,) whether its most probable class is that of its label.

    Args:
        labels: class indices (B,), or distributions over the classes (B, C).
        logits: (B, C).
    """
    if labels.shape.rank == 2:
        labels = tf.argmax(labels, axis=1, output_type=tf.int32)
    return tf.argmax(logits, axis=1, output_type=labels.dtype) == labels


def make_train_step(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    strategy: tf.distribute.Strategy,
    loss: Loss,
    config: TrainConfig,
    adversary: Adversary | None = None,
    report_accuracy: bool = True,
    *,
    planned: int,
) -> Callable:
    """Returns a function of replica batches, of a number of steps and of whether this process is to stop.

    It takes the steps and gives the `Progress.sums` of them, and the seconds that it waited for input: NaN
    when several steps are taken at once. How many are planned in all decides what is worth compiling.
    """
    replicas = strategy.num_replicas_in_sync
    statistics = moving_statistics(model) if replicas > 1 else []
    variables = model.trainable_variables
    large = replicas == 1 and worth_compiling(variables, planned, config.jit)
    compiled = large and not is_fused(optimizer)
    update = _make_update(optimizer, variables, one_replica=replicas == 1, compiled=compiled)
    differentiate = _make_differentiate(
        model,
        optimizer,
        loss,
        adversary,
        report_accuracy,
        dense=large or config.accumulate > 1 or config.clip_norm > 0,
        compiled=config.jit == "on" or (config.jit == "auto" and tf.config.list_physical_devices("GPU")),
    )

    def replica(replica_batch, stop):
        (inputs, labels, weights), valid_mask = unpad(replica_batch, strategy, config.accumulate)
        # What fills a batch up does not count.
        weights *= valid_mask
        context = tf.distribute.get_replica_context()
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.reduce_sum(weights))
        batch = (inputs, labels, weights)
        if config.accumulate == 1:
            gradients, sums = differentiate(*batch, total)
        else:
            shapes = [variable.shape for variable in variables]
            gradients, sums = _accumulate_gradients(differentiate, batch, total, shapes, config.accumulate)
        if config.clip_norm:
            gradients = _clip(gradients, optimizer, config.clip_norm, replicas)
        update(gradients)
        for variable in statistics:
            value = tf.convert_to_tensor(variable.value)
            variable.assign(context.all_reduce(tf.distribute.ReduceOp.MEAN, value))
        return tf.concat([sums, [tf.reduce_sum(valid_mask), stop]], axis=0)

    return _make_loop(replica, strategy, config.steps_per_call)


def _make_update(
    optimizer: keras.optimizers.Optimizer, variables: Sequence, *, one_replica: bool, compiled: bool
) -> Callable:
    """Returns a function that applies gradients to variables."""

    def update(gradients):
        with one_rate(optimizer) if one_replica else nullcontext():
            optimizer.apply(gradients, variables)

    return tf.function(update, jit_compile=True) if compiled else update


def _make_differentiate(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: Loss,
    adversary: Adversary | None,
    report_accuracy: bool,
    *,
    dense: bool,
    compiled: bool,
) -> Callable:
    """Returns a function of a batch and the weight of the global batch: gradients, and sums (3,) over it."""
    variables = model.trainable_variables
    is_scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)

    def differentiate(inputs, labels, weights, total):
        adversarial_inputs = None if adversary is None else adversary(inputs, labels)
        with tf.GradientTape() as tape:
            logits = tf.cast(call_fast(model, inputs, training=True), tf.float32)
            losses = loss(labels, logits)
            if adversary is not None:
                adversarial_logits = tf.cast(call_fast(model, adversarial_inputs, training=True), tf.float32)
                losses = (losses + loss(labels, adversarial_logits)) / 2
            loss_sum = tf.reduce_sum(losses * weights)
            # The optimizer sums the gradients of the replicas.
            objective = optimizer.scale_loss(loss_sum / total) if is_scaled else loss_sum / total
        gradients = tape.gradient(objective, [variable.value for variable in variables])
        if dense:
            # Rows of embeddings are added up, and what has no part in the loss has a gradient of zero.
            gradients = [
                tf.zeros(variable.shape) if gradient is None else tf.convert_to_tensor(gradient)
                for gradient, variable in zip(gradients, variables, strict=True)
            ]
        right = tf.cast(hits(labels, logits), tf.float32) if report_accuracy else tf.zeros_like(weights)
        return gradients, tf.stack([loss_sum, tf.reduce_sum(right * weights), tf.reduce_sum(weights)])

    return tf.function(differentiate, jit_compile=True) if compiled else differentiate


def _clip(gradients: list, optimizer: keras.optimizers.Optimizer, clip_norm: float, replicas: int) -> list:
    """Clips the sum of the replicas' gradients by its norm, and returns the share of each replica."""
    is_scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    limit = clip_norm * (optimizer.dynamic_scale.value if is_scaled else 1.0)
    context = tf.distribute.get_replica_context()
    gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    gradients, _ = tf.clip_by_global_norm(gradients, limit)
    return [gradient / replicas for gradient in gradients]


def _make_loop(replica: Callable, strategy: tf.distribute.Strategy, steps_per_call: int) -> Callable:
    """Returns the traced function that takes steps on all replicas, see `make_train_step`."""

    @tf.function(reduce_retracing=True)
    def one_step(replica_batch, stop):
        outcomes = strategy.run(replica, (replica_batch, stop))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, outcomes, axis=None)

    @tf.function
    def several_steps(batches, count, stop):
        sums = tf.zeros(SUMS)
        for _ in tf.range(count):
            sums += one_step(next(batches), stop)
        return sums

    is_traced = False

    def train_step(batches, count: int, stop) -> tuple[tf.Tensor, float]:
        nonlocal is_traced
        if not is_traced:
            # Once for batches of all sizes and lengths: the first batch would be traced as large as it is.
            one_step.get_concrete_function(batches.element_spec, tf.TensorSpec([], tf.float32))
            is_traced = True
        if steps_per_call > 1:
            # Operations that read a clock are refused where all must be deterministic.
            return several_steps(batches, tf.constant(count), stop), math.nan
        start = time.perf_counter()
        replica_batch = next(batches)
        wait_seconds = time.perf_counter() - start
        return one_step(replica_batch, stop), wait_seconds

    return train_step


def worth_compiling(variables, planned: int, jit: str) -> bool:
    """Tells whether the update of variables is to be compiled, and what else a training compiles on a CPU.

    As they are, Keras' optimizers read and write every weight a dozen times, one operation after the other.

    Args:
        variables: that are trained.
        planned: steps in all.
        jit: "on", "off", or "auto" to go by how much is to be computed.
    """
    weights = sum(math.prod(variable.shape) for variable in variables)
    is_large = weights >= MANY_WEIGHTS and weights * planned >= MANY_UPDATES
    return jit == "on" or (jit == "auto" and is_large)


def _accumulate_gradients(differentiate: Callable, batch, total, shapes, count: int):
    """Adds up what `differentiate` gives for so many equal micro-batches of a batch, one after the other."""

    def cut(rows):
        return tf.reshape(rows, tf.concat([[count, tf.shape(rows)[0] // count], tf.shape(rows)[1:]], axis=0))

    microbatches = tf.nest.map_structure(cut, batch)

    def add(number, gradients, sums):
        part = tf.nest.map_structure(
            lambda rows, column: tf.ensure_shape(rows[number], [None, *column.shape[1:]]), microbatches, batch
        )
        part_gradients, part_sums = differentiate(*part, total)
        return number + 1, [a + b for a, b in zip(gradients, part_gradients, strict=True)], sums + part_sums

    start = (tf.constant(0), [tf.zeros(shape) for shape in shapes], tf.zeros(3))
    # One at a time, or nothing would be saved.
    _, gradients, sums = tf.while_loop(lambda number, *_: number < count, add, start, parallel_iterations=1)
    return gradients, sums
