"""Steps of a training on the devices of a strategy: gradients of shares of a batch, applied together."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext

import keras
import tensorflow as tf

from xmodal.config.training import TrainConfig
from xmodal.kernels.convolutions import quickly
from xmodal.kernels.optimizer_step import one_rate
from xmodal.training.progress import SUMS
from xmodal.training.replicas import moving_statistics, share_of

# Weights and steps from which on compiling the update pays: it takes seconds, and saves a part of each step.
WORTH_COMPILING = 1_000_000
MANY_STEPS = 40

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
Adversary = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def hits(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Tells of each example (B,) whether its most probable class is that of its label.

    Args:
        labels: class indices (B,), or distributions over the classes (B, C).
        logits: (B, C).
    """
    if labels.shape.rank == 2:
        labels = tf.argmax(labels, axis=1, output_type=tf.int32)
    return tf.argmax(logits, axis=1, output_type=labels.dtype) == labels


def step_taker(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    strategy: tf.distribute.Strategy,
    loss: Loss,
    config: TrainConfig,
    adversary: Adversary | None = None,
    classifies: bool = True,
    *,
    planned: int,
) -> Callable:
    """Returns a function of shares of batches, of a number of steps and of whether this process is to stop.

    It takes the steps and gives the `Progress.sums` of them, and the seconds that it waited for input: NaN
    when several steps are taken at once. How many are planned in all decides what is worth compiling.
    """
    replicas = strategy.num_replicas_in_sync
    statistics = moving_statistics(model) if replicas > 1 else []
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    variables = model.trainable_variables
    compiled = replicas == 1 and _worth_compiling(variables, planned, config.jit)

    def update(gradients):
        with one_rate(optimizer) if replicas == 1 else nullcontext():
            optimizer.apply(gradients, variables)

    if compiled:
        update = tf.function(update, jit_compile=True)
    whole = compiled or config.accumulate > 1 or config.clip_norm > 0

    def differentiate(inputs, labels, weights, total):
        changed = None if adversary is None else adversary(inputs, labels)
        with tf.GradientTape() as tape:
            logits = tf.cast(quickly(model, inputs, training=True), tf.float32)
            losses = loss(labels, logits)
            if adversary is not None:
                misled = tf.cast(quickly(model, changed, training=True), tf.float32)
                losses = (losses + loss(labels, misled)) / 2
            weighted = tf.reduce_sum(losses * weights)
            # The optimizer sums the gradients of the replicas.
            objective = optimizer.scale_loss(weighted / total) if scaled else weighted / total
        gradients = tape.gradient(objective, [variable.value for variable in variables])
        if whole:
            # Rows of embeddings are added up, and what has no part in the loss has a gradient of zero.
            gradients = [
                tf.zeros(variable.shape) if gradient is None else tf.convert_to_tensor(gradient)
                for gradient, variable in zip(gradients, variables, strict=True)
            ]
        right = tf.cast(hits(labels, logits), tf.float32) if classifies else tf.zeros_like(weights)
        return gradients, tf.stack([weighted, tf.reduce_sum(right * weights), tf.reduce_sum(weights)])

    if config.jit == "on" or (config.jit == "auto" and tf.config.list_physical_devices("GPU")):
        differentiate = tf.function(differentiate, jit_compile=True)

    def replica(share, stop):
        (inputs, labels, weights), real = share_of(share, strategy, config.accumulate)
        # What fills a batch up does not count.
        weights *= real
        context = tf.distribute.get_replica_context()
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.reduce_sum(weights))
        if config.accumulate == 1:
            gradients, sums = differentiate(inputs, labels, weights, total)
        else:
            shapes = [variable.shape for variable in variables]
            own = (inputs, labels, weights)
            gradients, sums = _in_parts(differentiate, own, total, shapes, config.accumulate)
        if config.clip_norm:
            limit = config.clip_norm * (optimizer.dynamic_scale.value if scaled else 1.0)
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            gradients, _ = tf.clip_by_global_norm(gradients, limit)
            gradients = [gradient / replicas for gradient in gradients]
        update(gradients)
        for variable in statistics:
            own = tf.convert_to_tensor(variable.value)
            variable.assign(context.all_reduce(tf.distribute.ReduceOp.MEAN, own))
        return tf.concat([sums, [tf.reduce_sum(real), stop]], axis=0)

    @tf.function(reduce_retracing=True)
    def one_step(share, stop):
        outcomes = strategy.run(replica, (share, stop))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, outcomes, axis=None)

    @tf.function
    def several_steps(shares, count, stop):
        sums = tf.zeros(SUMS)
        for _ in tf.range(count):
            sums += one_step(next(shares), stop)
        return sums

    traced = False

    def take_steps(shares, count: int, stop) -> tuple[tf.Tensor, float]:
        nonlocal traced
        if not traced:
            # Once for batches of all sizes and lengths: the first batch would be traced as large as it is.
            one_step.get_concrete_function(shares.element_spec, tf.TensorSpec([], tf.float32))
            traced = True
        if config.steps_per_call > 1:
            # Operations that read a clock are refused where all must be deterministic.
            return several_steps(shares, tf.constant(count), stop), math.nan
        asked = time.perf_counter()
        share = next(shares)
        waited = time.perf_counter() - asked
        return one_step(share, stop), waited

    return take_steps


def _worth_compiling(variables, planned: int, jit: str) -> bool:
    """Tells whether the update of variables is to be compiled.

    As it is, one operation after the other reads and writes every weight, a dozen times in all.
    """
    weights = sum(math.prod(variable.shape) for variable in variables)
    return jit == "on" or (jit == "auto" and weights >= WORTH_COMPILING and planned >= MANY_STEPS)


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
