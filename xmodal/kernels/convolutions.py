"""Convolutions over small maps as products of matrices, which are quicker on a CPU."""

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from itertools import product

import keras
import numpy as np
import tensorflow as tf

from xmodal.kernels.layers import all_layers

Convolution = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

# Weights of all filters for each place of a map from which on products are the quicker ones, and for
# the gradient alone. TensorFlow puts filters in order before it convolves, and adds up a copy of their
# gradient in every thread: where they are many and places few, that takes longer than to multiply.
MANY = 70_000
MANY_FOR_GRADIENT = {tf.bfloat16: 8_000}


def call_fast(model: Callable, inputs, *, training: bool, passing: Collection[keras.Layer] = ()):
    """Calls a model, within a `tf.function`, with its convolutions over small maps as products of matrices.

    Its outputs and gradients stay the same but for rounding. What is exported keeps its convolutions, and
    nothing changes where there is a GPU, or for a function that is no model.

    Args:
        model: inputs -> outputs.
        inputs: of the model.
        training: as Keras has it.
        passing: what `identity_convolutions` found; these are left out, which changes nothing at all.
    """
    changes = isinstance(model, keras.Model) and not tf.config.list_physical_devices("GPU")
    with _quick_convolutions(model, passing) if changes else nullcontext():
        return model(inputs, training=training)


def identity_convolutions(model: keras.Model) -> list[keras.layers.Conv2D]:
    """Returns the convolutions whose filters pass every channel on as it is, as layers grown by identity do.

    To be asked for anew whenever weights may have changed.
    """
    return [layer for layer in all_layers(model) if _suits(layer) and _passes(layer.kernel.numpy())]


def _passes(filters: np.ndarray) -> bool:
    height, width, channels, count = filters.shape
    middle = filters[height // 2, width // 2]
    return channels == count and np.count_nonzero(filters) == channels and bool(np.all(np.diag(middle) == 1))


@contextmanager
def _quick_convolutions(model: keras.Model, skipped_layers: Collection[keras.Layer]) -> Iterator[None]:
    layers = list(filter(_suits, all_layers(model)))
    skipped_ids = {id(layer) for layer in skipped_layers}
    try:
        for layer in layers:
            default = layer.convolution_op
            layer.convolution_op = _unchanged if id(layer) in skipped_ids else _choose_convolution(default)
        yield
    finally:
        for layer in layers:
            del layer.convolution_op


def _unchanged(inputs: tf.Tensor, filters: tf.Tensor) -> tf.Tensor:
    return inputs


def _suits(layer: keras.Layer) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and (layer.padding, layer.data_format, layer.groups) == ("same", "channels_last", 1)
        and layer.strides == layer.dilation_rate == (1, 1)
        and all(side % 2 for side in layer.kernel_size)
        and layer.kernel_size != (1, 1)
    )


def _choose_convolution(default: Convolution) -> Convolution:
    def convolution(inputs, filters):
        filters = tf.convert_to_tensor(filters)
        height, width = inputs.shape[1:3]
        ratio = 0 if None in (height, width) else math.prod(filters.shape) / (height * width)
        if ratio >= MANY:
            return small_convolution(inputs, filters, convolved=_product)
        if ratio >= MANY_FOR_GRADIENT.get(filters.dtype, math.inf):
            return small_convolution(inputs, filters, convolved=_convolution)
        return default(inputs, filters)

    return convolution


def small_convolution(inputs: tf.Tensor, filters: tf.Tensor, convolved: Convolution) -> tf.Tensor:
    """Returns a convolution of stride 1 that keeps the size of its maps.

    The filter of an offset sees the maps moved by that offset, so its gradient is one product of matrices
    over all places. That of the maps is the convolution of the upstream gradient with the filters turned.

    Args:
        inputs: maps (B, H, W, C), H and W known.
        filters: (h, w, C, K), h and w odd.
        convolved: computes it, and the gradient of its inputs.

    Returns:
        Maps (B, H, W, K).
    """

    @tf.custom_gradient
    def with_gradients(inputs, filters):
        def gradients(upstream):
            flipped_filters = tf.transpose(tf.reverse(filters, (0, 1)), (0, 1, 3, 2))
            # What the layers below do not need is left out of the graph.
            return convolved(upstream, flipped_filters), _filter_gradient(inputs, upstream, filters.shape)

        return convolved(inputs, filters), gradients

    return with_gradients(inputs, filters)


def _filter_gradient(inputs: tf.Tensor, upstream: tf.Tensor, filters: tf.TensorShape) -> tf.Tensor:
    *_, channels, count = filters
    gradients = tf.reshape(upstream, (-1, count))
    shifted_maps = (tf.reshape(maps, (-1, channels)) for maps in _shift_maps(inputs, filters))
    return tf.reshape(
        tf.stack([tf.matmul(maps, gradients, transpose_a=True) for maps in shifted_maps]), filters
    )


def _product(inputs: tf.Tensor, filters: tf.Tensor) -> tf.Tensor:
    rows = tf.reshape(filters, (-1, filters.shape[-1]))
    patches = tf.reshape(tf.concat(_shift_maps(inputs, filters.shape), axis=-1), (-1, rows.shape[0]))
    return tf.reshape(tf.matmul(patches, rows), (-1, *inputs.shape[1:3], filters.shape[-1]))


def _convolution(inputs: tf.Tensor, filters: tf.Tensor) -> tf.Tensor:
    return tf.nn.conv2d(inputs, filters, 1, "SAME")


def _shift_maps(inputs: tf.Tensor, filters: tf.TensorShape) -> list[tf.Tensor]:
    """Returns maps (B, H, W, C), zero beyond their edges, as each offset of (h, w, C, K) sees them."""
    (kernel_height, kernel_width), (height, width) = filters[:2], inputs.shape[1:3]
    top, side = kernel_height // 2, kernel_width // 2
    padded_maps = tf.pad(inputs, ((0, 0), (top, top), (side, side), (0, 0)))
    return [
        padded_maps[:, y : y + height, x : x + width]
        for y, x in product(range(kernel_height), range(kernel_width))
    ]
