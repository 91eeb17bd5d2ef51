"""Losses of single examples."""

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from xmodal.core.errors import UserError
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


@dataclass(frozen=True)
class Losses:
    """What a training minimises, and what validation shows.

    Attributes:
        train: (labels, outputs) -> losses (B,), which are minimised.
        validation: what val_loss is the mean of.
        report_accuracy: outputs are logits, or probabilities, of classes.
    """

    train: Loss
    validation: Loss
    report_accuracy: bool


def per_example(loss: Loss | keras.losses.Loss | str, report_accuracy: bool | None = None) -> Losses:
    """Takes a loss in any form to losses of single examples.

    Args:
        loss: a Keras loss or its name, of which training and validation take the same. Or a function of
            labels and outputs that returns losses (B,): that of a classifier, whose validation loss is the
            cross-entropy whatever is minimised, unless `report_accuracy` is False.
        report_accuracy: whether outputs are logits of classes; None goes by the loss, of which those of
            Keras are if they are "categorical".

    Raises:
        UserError: when Keras knows no loss of that name.
    """
    loss = _keras_loss(loss) if isinstance(loss, str) else loss
    is_keras_loss = isinstance(loss, keras.losses.Loss)
    if not is_keras_loss and not getattr(loss, "__module__", "").startswith("keras."):
        has_accuracy = report_accuracy is not False
        return Losses(loss, cross_entropy() if has_accuracy else loss, has_accuracy)
    name = type(loss).__name__ if is_keras_loss else loss.__name__
    has_accuracy = "categorical" in name.lower() if report_accuracy is None else report_accuracy
    compute: Any = getattr(loss, "call", loss)

    def mean_of_each(labels, outputs):
        losses = tf.cast(compute(labels, outputs), tf.float32)
        # Of an output of several dimensions Keras gives one loss for each place.
        return tf.reduce_mean(tf.reshape(losses, [tf.shape(losses)[0], -1]), axis=1)

    return Losses(mean_of_each, mean_of_each, has_accuracy)


def _keras_loss(name: str) -> Loss | keras.losses.Loss:
    try:
        return keras.losses.get(name)
    except ValueError as error:
        raise UserError(
            f"Keras knows no loss {name!r}", "name one of keras.losses, or give a function"
        ) from error
