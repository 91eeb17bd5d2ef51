"""Activations in one pass over the numbers, where TensorFlow takes one for each operation in them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from xmodal.kernels.layers import all_layers

# Those of a single operation gain nothing.
SIMPLE = (keras.activations.linear, keras.activations.relu, keras.activations.tanh, keras.activations.sigmoid)


def compile_activation(activation: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns an activation compiled by XLA, and its gradient, which is computed from its input alone.

    GELU and its gradient are some twenty operations, each of which reads and writes all numbers of the widest
    layer of a transformer.

    Args:
        activation: a function of each number alone.
    """

    @tf.function(jit_compile=True)
    def forward(inputs):
        return activation(inputs)

    @tf.function(jit_compile=True)
    def backward(inputs, upstream):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = activation(inputs)
        return tape.gradient(outputs, inputs, upstream)

    @tf.custom_gradient
    def compiled(inputs):
        return forward(inputs), lambda upstream: backward(inputs, upstream)

    return compiled


@contextmanager
def compiled_activations(model: keras.Model) -> Iterator[None]:
    """Compiles the activations of all dense layers of a model for as long as this lasts.

    Outside of a training they stay what they were: what is exported needs no compiler.
    """
    layers = [
        layer
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.Dense) and layer.activation not in SIMPLE
    ]
    activations = [layer.activation for layer in layers]
    compiled_by_activation = {activation: compile_activation(activation) for activation in activations}
    try:
        for layer in layers:
            layer.activation = compiled_by_activation[layer.activation]
        yield
    finally:
        for layer, activation in zip(layers, activations, strict=True):
            layer.activation = activation
