"""Batch normalisation: moving statistics computed anew, as means over batches of training data.

A moving average with Keras' momentum of 0.99 needs hundreds of steps to forget where it began: after a
short training, and above all from random weights (mean 0, variance 1), a network computes something else
at inference than what was trained. The mean over some batches has no memory ("precise" statistics: Wu and
Johnson 2021, arXiv:2105.07576, section 3).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xmodal.data.batches import Batches
from xmodal.kernels.convolutions import call_fast
from xmodal.kernels.layers import all_layers
from xmodal.training.rehearsal import Steps
from xmodal.training.replicas import distribute, unpad
from xmodal.training.strategy import lost_workers_noticed

# Batches that statistics are computed on.
MAX_BATCHES = 16


def batch_norms(model: keras.Model, *, trainable: bool) -> list[keras.layers.BatchNormalization]:
    """Returns the batch normalisation layers of a model, all of them or those that learn."""
    return [
        layer
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and (layer.trainable or not trainable)
    ]


def without_statistics(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Returns the layers whose statistics are still those of a new layer, mean 0 and variance 1."""
    return [
        layer
        for layer in batch_norms(model, trainable=False)
        if not np.any(layer.moving_mean) and np.all(np.equal(layer.moving_variance, 1))
    ]


def refresh_statistics(
    model: keras.Model,
    layers: list[keras.layers.BatchNormalization],
    batches: tf.data.Dataset | Batches,
    strategy: tf.distribute.Strategy,
) -> None:
    """Computes the moving statistics of layers anew, as means over the first `MAX_BATCHES` batches.

    Args:
        model: inputs -> outputs, built in the strategy's scope.
        layers: some of its batch normalisation layers; with none nothing is done.
        batches: batches of inputs, or of tuples that begin with them.
        strategy: the tf.distribute strategy.
    """
    if not layers:
        return
    steps = Steps(min(MAX_BATCHES, int(batches.cardinality())))
    means: list[list[np.ndarray]] = [[] for _ in layers]
    variances: list[list[np.ndarray]] = [[] for _ in layers]
    with _of_one_batch(layers), lost_workers_noticed(strategy):
        compute = _batch_statistics(model, layers, strategy)
        shares: Any = iter(distribute(batches, strategy))
        # Once for batches of all sizes and lengths: the first batch would be traced as large as it is.
        compute.get_concrete_function(shares.element_spec)
        for share in steps.few(next(shares) for _ in range(steps.planned)):
            for number, (mean, variance) in enumerate(compute(share)):
                means[number].append(mean.numpy())
                variances[number].append(variance.numpy())
    steps.close()
    with strategy.scope():
        for layer, mean, variance in zip(layers, means, variances, strict=True):
            # The variance of all is that within batches and that between their means.
            layer.moving_mean.assign(np.mean(mean, axis=0))
            layer.moving_variance.assign(np.mean(variance, axis=0) + np.var(mean, axis=0))


def _batch_statistics(
    model: keras.Model, layers: list[keras.layers.BatchNormalization], strategy: tf.distribute.Strategy
):
    """Returns a function of a share of a batch that gives the mean and the variance of each layer's input.

    The model keeps it, so that it is traced once and not in each epoch.
    """
    # What else of a model in training depends on what learns.
    states = tuple(layer.trainable for layer in batch_norms(model, trainable=False))
    key = (strategy, *map(id, layers), *states)
    # Keras tracks attributes that are set the usual way.
    functions = model.__dict__.setdefault("_batch_statistics", {})
    if key not in functions:
        functions[key] = _trace_statistics(model, layers, strategy)
    return functions[key]


def _trace_statistics(
    model: keras.Model, layers: list[keras.layers.BatchNormalization], strategy: tf.distribute.Strategy
):
    @tf.function(reduce_retracing=True)
    def compute(share):
        def replica(share):
            batch, _ = unpad(share, strategy)
            call_fast(model, batch[0] if isinstance(batch, tuple) else batch, training=True)
            context = tf.distribute.get_replica_context()
            return [
                tuple(
                    context.all_reduce(tf.distribute.ReduceOp.MEAN, tf.convert_to_tensor(variable.value))
                    for variable in (layer.moving_mean, layer.moving_variance)
                )
                for layer in layers
            ]

        outcomes = strategy.run(replica, (share,))
        values = [strategy.experimental_local_results(outcome)[0] for outcome in tf.nest.flatten(outcomes)]
        return tf.nest.pack_sequence_as(outcomes, values)

    return compute


@contextmanager
def _of_one_batch(layers: list[keras.layers.BatchNormalization]) -> Iterator[None]:
    """Has layers take the statistics of each batch as they are, those of frozen layers too."""
    settings = [(layer.momentum, layer.trainable) for layer in layers]
    for layer in layers:
        layer.momentum, layer.trainable = 0.0, True
    try:
        yield
    finally:
        for layer, (momentum, trainable) in zip(layers, settings, strict=True):
            layer.momentum, layer.trainable = momentum, trainable
