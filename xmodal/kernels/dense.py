"""Dense layers over sequences as one product of matrices, which TensorFlow fuses with what follows."""

from collections.abc import Callable

import keras
import tensorflow as tf

from xmodal.kernels.layers import all_layers


def flatten_sequences(model: keras.Model) -> None:
    """Lets the dense layers of a model multiply all places of a batch as the rows of one matrix.

    The numbers stay the same. Keras multiplies sequences by a `tensordot`, whose last step, giving the
    product its shape, stands between it and the bias; so TensorFlow computes product, bias and each
    operation of a GELU one after the other. To be called before anything is traced.

    Args:
        model: its layers of `keras.layers.Dense` that have a bias are changed in place.
    """
    for layer in all_layers(model):
        if type(layer) is keras.layers.Dense and layer.use_bias:
            layer.call = _flat(layer)


def _flat(layer: keras.layers.Dense) -> Callable[..., tf.Tensor]:
    def call(inputs, training=None):
        kernel, bias = tf.convert_to_tensor(layer.kernel), tf.convert_to_tensor(layer.bias)
        rows = tf.reshape(inputs, (-1, kernel.shape[0]))
        outputs = layer.activation(tf.nn.bias_add(tf.matmul(rows, kernel), bias))
        outputs = tf.reshape(outputs, tf.concat([tf.shape(inputs)[:-1], [layer.units]], axis=0))
        # LiteRT has no operation that ensures a shape.
        outputs.set_shape([*inputs.shape[:-1], layer.units])
        return outputs

    return call
