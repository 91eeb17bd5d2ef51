"""Batches that are listed in one place and read in another, and batches of arrays."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xmodal.data.rows import ArrayShards
from xmodal.text.length_buckets import targets_of


@dataclass(frozen=True)
class Batches:
    """Batches whose rows are cheap to list, and dear to read.

    Every process of a job lists all rows, and reads only those of its own devices; a training that goes
    on in the middle of an epoch reads nothing of what came before.

    Attributes:
        rows: batches of what `read` takes, such as paths and labels; all of (B, ...).
        read: rows -> a batch of (B, ...), in-graph, each row by itself.
    """

    rows: tf.data.Dataset
    read: Callable[[Any], Any]

    def map(self, function: Callable[[Any], Any]) -> "Batches":
        """Applies a function to each batch that was read; it must treat each row by itself."""
        return replace(self, read=lambda rows: function(self.read(rows)))

    def skip(self, count: int) -> "Batches":
        """Leaves out the first batches."""
        return replace(self, rows=self.rows.skip(count))

    def cardinality(self) -> tf.Tensor:
        """Returns the number of batches."""
        return self.rows.cardinality()

    def dataset(self) -> tf.data.Dataset:
        """Returns the batches as they are read."""
        return without_autotuning(read_ahead(self.rows, self.read))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.dataset())


def concatenate(parts: Sequence["Batches | tf.data.Dataset"]) -> "Batches | tf.data.Dataset":
    """Returns batches one after the other: all `Batches` of one split, read in one way, or all data sets."""
    first = parts[0]
    listed = [part.rows if isinstance(part, Batches) else part for part in parts]
    rows = reduce(tf.data.Dataset.concatenate, listed)
    return replace(first, rows=rows) if isinstance(first, Batches) else rows


def read_ahead(rows: tf.data.Dataset, read: Callable[..., Any]) -> tf.data.Dataset:
    """Reads rows on all cores, in their order, ahead of their use."""
    read_rows = rows.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return read_rows.prefetch(tf.data.AUTOTUNE)


def without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a data set whose iteration ends when its last element is done.

    tf.data tunes how many threads read while they do, at intervals that double up to a minute. The end of
    an iteration can miss that thread asleep and waits for it: up to as long again as the whole epoch took.
    Without the tuning there are as many threads as cores.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


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
        inputs: an array or `ArrayShards` (N, ...), or a dict of them.
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


def _taker(array: np.ndarray | ArrayShards) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns what gives the rows (B, ...) with the numbers (B,), in-graph."""
    if not isinstance(array, ArrayShards):
        return partial(tf.gather, tf.convert_to_tensor(array))

    def take(index):
        rows = tf.numpy_function(array.__getitem__, [index], array.dtype, stateful=False)
        return tf.ensure_shape(rows, (None, *array.shape[1:]))

    return take
