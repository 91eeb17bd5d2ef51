"""Batches of tokenized texts in which a short text does not pay for a long one."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# Lengths are rounded up to a multiple of this, so that few shapes occur.
STEP = 8


def length_order(
    lengths: np.ndarray, *, batch_size: int, window: int = 1, shuffle_seed: Sequence[int] | None = None
) -> np.ndarray:
    """Orders examples so that texts of similar length fall into one batch.

    Without a seed all of them are sorted. With one they are shuffled, sorted within windows of some
    batches, and the batches of all windows shuffled again: so a batch has like lengths, but its examples
    and its place are other ones in each epoch (the bucketing of Khomenko et al. 2017, arXiv:1708.05604).

    Args:
        lengths: (N,), the tokens of each text.
        batch_size: B.
        window: batches that are sorted together; 1 leaves the order random.
        shuffle_seed: numbers that set the order, such as (seed, epoch).

    Returns:
        (N,) indices; each B of them in turn are a batch.
    """
    if shuffle_seed is None:
        return np.argsort(lengths, kind="stable")
    generator = np.random.default_rng(shuffle_seed)
    order = generator.permutation(len(lengths))
    if window == 1:
        return order
    for start in range(0, len(order), window * batch_size):
        part = order[start : start + window * batch_size]
        order[start : start + len(part)] = part[np.argsort(lengths[part], kind="stable")]
    # The last batch may be a part of one, and stays last.
    full_count = len(order) // batch_size * batch_size
    batches = order[:full_count].reshape(-1, batch_size)
    return np.concatenate([generator.permutation(batches).ravel(), order[full_count:]])


def token_lengths(tokens: dict[str, np.ndarray]) -> np.ndarray:
    """Returns the number of tokens of each text (N,), from the inputs of its encoder."""
    return tokens["padding_mask"].sum(axis=1)


def targets_of(labels: np.ndarray | None, size: int) -> np.ndarray:
    """Returns class indices as int32 (N,), zeros for None, and distributions as float32 (N, C)."""
    if labels is None:
        return np.zeros(size, np.int32)
    return labels.astype(np.float32 if labels.ndim == 2 else np.int32)


def token_batches(
    tokens: dict[str, np.ndarray],
    labels: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    *,
    batch_size: int,
    order: np.ndarray,
) -> tf.data.Dataset:
    """Batches tokenized texts, each batch cut to its longest text.

    Args:
        tokens: inputs of the encoder, each (N, T), padding_mask among them.
        labels: int (N,), zeros by default, or distributions over classes (N, C).
        weights: float (N,), ones by default.
        batch_size: B.
        order: (N,) indices, as `length_order` gives them.

    Returns:
        Batches of (tokens, labels (B,) or (B, C), weights (B,)).
    """
    size = len(order)
    labels = targets_of(labels, size)
    weights = np.ones(size, np.float32) if weights is None else weights.astype(np.float32)
    tensors = tf.nest.map_structure(tf.convert_to_tensor, (tokens, labels, weights))

    def take(index):
        batch, label, weight = tf.nest.map_structure(lambda array: tf.gather(array, index), tensors)
        max_length = tf.reduce_max(tf.reduce_sum(tf.cast(batch["padding_mask"], tf.int32), axis=1))
        length = -(-max_length // STEP) * STEP
        return {name: value[:, :length] for name, value in batch.items()}, label, weight

    return tf.data.Dataset.from_tensor_slices(order).batch(batch_size).map(take).prefetch(2)
