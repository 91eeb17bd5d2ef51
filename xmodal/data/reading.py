"""Batches that are listed in one place and read in another."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf


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
        return untuned(read_ahead(self.rows, self.read))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.dataset())


def read_ahead(rows: tf.data.Dataset, read: Callable[..., Any]) -> tf.data.Dataset:
    """Reads rows on all cores, in their order, ahead of their use."""
    read_rows = rows.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return read_rows.prefetch(tf.data.AUTOTUNE)


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a data set whose iteration ends when its last element is done.

    tf.data tunes how many threads read while they do, at intervals that double up to a minute. The end of
    an iteration can miss that thread asleep and waits for it: up to as long again as the whole epoch took.
    Without the tuning there are as many threads as cores.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
