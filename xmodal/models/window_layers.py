"""A model of one picture, asked about the several pictures of a long sound or a video."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="xmodal")
class FoldWindows(keras.layers.Layer):
    """Makes the windows of all examples examples of their own: (B, n, H, W, C) -> (B n, H, W, C)."""

    def call(self, pictures):
        return ops.reshape(pictures, (-1, *pictures.shape[2:]))

    def compute_output_shape(self, input_shape):
        return (None, *input_shape[2:])


@keras.saving.register_keras_serializable(package="xmodal")
class MeanOverWindows(keras.layers.Layer):
    """Averages what was said of the windows that an example has; pictures below 0 are none.

    Called on logits (B n, C) and the pictures (B, n, H, W, 3) that they are of, it gives logits (B, C).
    """

    def call(self, logits, pictures):
        mask = ops.cast(pictures[:, :, 0, 0, 0] >= 0, logits.dtype)
        logits = ops.reshape(logits, (*ops.shape(mask), logits.shape[-1]))
        # Every example has one window at least; what fills up a batch may have none.
        count = ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1)
        return ops.sum(logits * mask[..., None], axis=1) / count

    def compute_output_shape(self, logits_shape, pictures_shape):
        return (pictures_shape[0], logits_shape[-1])


def over_windows(model: keras.Model) -> keras.Model:
    """Returns a model that gives the mean outputs of the windows of an example.

    Args:
        model: pictures (B, H, W, 3) -> logits (B, C), or several such outputs.

    Returns:
        Pictures (B, n, H, W, 3), below 0 in the place of missing ones -> the same outputs.
    """
    pictures = keras.Input((None, *model.input.shape[1:]), name="windows")
    outputs = model(FoldWindows(name="fold_windows")(pictures))
    means = [
        MeanOverWindows(dtype="float32", name="mean_over_windows" + (f"_{index}" if index else ""))(
            output, pictures
        )
        for index, output in enumerate(keras.tree.flatten(outputs))
    ]
    mean = keras.tree.pack_sequence_as(outputs, means)
    return keras.Model(pictures, mean, name=f"{model.name}_over_windows")
