"""Examples in the forms that people have them in, as batches that a training takes."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from xmodal.core.errors import UserError
from xmodal.data.batches import Batches, array_batches

# Batches of (inputs, labels) or (inputs, labels, weights), or a tuple of such arrays.
Examples: TypeAlias = tf.data.Dataset | Batches | tuple[Any, ...]
PARTS = ("inputs", "labels", "weights")


def labelled_batches(
    examples: Examples, batch_size: int, shuffle_seed: Sequence[int] | None = None
) -> tf.data.Dataset | Batches:
    """Returns batches of (inputs, labels (B, ...), weights (B,)).

    Args:
        examples: `Batches` of these, as they are; a data set of batches of (inputs, labels) or (inputs,
            labels, weights); or arrays of them. Class indices may be of any integer type.
        batch_size: of arrays.
        shuffle_seed: of arrays; None keeps their order.

    Raises:
        UserError: when there is nothing to learn from, or the examples are not in batches.
    """
    if isinstance(examples, Batches):
        return examples
    if not isinstance(examples, tf.data.Dataset):
        examples = _array_batches(examples, batch_size, shuffle_seed)
    spec = examples.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3):
        raise UserError(
            f"a training needs (inputs, labels) or (inputs, labels, weights). Received: {spec}",
            "let each element of the data set be such a tuple",
        )
    if spec[1].shape.rank == 0:
        raise UserError(
            f"a training needs batches of examples. Received single ones: {spec}",
            "batch the data set: dataset.batch(32)",
        )
    return examples if len(spec) == 3 and _is_ready(*spec) else examples.map(_with_weights)


def unlabelled_batches(inputs: tf.data.Dataset | Batches | Any, batch_size: int) -> tf.data.Dataset | Batches:
    """Returns batches that begin with the inputs; arrays, or dicts of them, are batched in their order."""
    if isinstance(inputs, tf.data.Dataset | Batches):
        return inputs
    return array_batches(inputs, batch_size=batch_size).map(lambda batch, *_: _narrow(batch))


def _array_batches(
    arrays: Sequence[Any], batch_size: int, shuffle_seed: Sequence[int] | None
) -> tf.data.Dataset:
    if not isinstance(arrays, tuple | list) or len(arrays) not in (2, 3):
        raise UserError(
            "a training needs (inputs, labels) or (inputs, labels, weights). "
            f"Received: {type(arrays).__name__}",
            "give a tuple of arrays, or a tf.data.Dataset",
        )
    sizes = {name: len(keras.tree.flatten(part)[0]) for name, part in zip(PARTS, arrays, strict=False)}
    if len(set(sizes.values())) > 1:
        counts = ", ".join(f"{size} {name}" for name, size in sizes.items())
        raise UserError(f"each example needs one of each. Received: {counts}", "give as many of each")
    batches = array_batches(tuple(arrays), batch_size=batch_size, shuffle_seed=shuffle_seed)
    return batches.map(lambda rows, *_: rows)


def _with_weights(inputs, labels, weights=None):
    if labels.dtype.is_integer or labels.dtype.is_bool:
        labels = tf.cast(labels, tf.int32)
        if labels.shape.rank == 2 and labels.shape[1] == 1:
            # A column of class indices is no distribution over one class.
            labels = labels[:, 0]
    if weights is None:
        weights = tf.ones(tf.shape(labels)[:1])
    return tf.nest.map_structure(_narrow, (inputs, labels, tf.cast(weights, tf.float32)))


def _narrow(array):
    """Halves what NumPy makes of Python's floats: models compute in no more than 32 bits."""
    return tf.cast(array, tf.float32) if array.dtype == tf.float64 else array


def _is_ready(inputs, labels: tf.TensorSpec, weights: tf.TensorSpec) -> bool:
    narrow = all(part.dtype != tf.float64 for part in tf.nest.flatten((inputs, labels)))
    indices = labels.dtype == tf.int32 and labels.shape.rank == 1
    return narrow and weights.dtype == tf.float32 and (indices or labels.dtype.is_floating)
