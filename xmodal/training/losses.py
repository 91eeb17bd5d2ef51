"""Losses of single examples."""

import keras
import tensorflow as tf

from xmodal.training.steps import Loss


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
