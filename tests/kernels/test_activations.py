import keras
import numpy as np
import pytest
import tensorflow as tf

from xmodal.kernels.activations import compile_activation, compiled_activations

NUMBERS = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32) * 3


@pytest.mark.parametrize("name", ["gelu", "silu", "softplus"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_values_and_gradients_are_those_of_the_activation(name, dtype):
    plain = keras.activations.get(name)
    found = []
    for activation in (plain, compile_activation(plain)):
        inputs = tf.cast(NUMBERS, dtype)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = activation(inputs)
        upstream = tf.cast(NUMBERS[::-1], dtype)
        found.append((outputs, tape.gradient(outputs, inputs, upstream)))
    tolerance = 1e-5 if dtype == "float32" else 0.05
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(tf.cast(one, "float32"), tf.cast(other, "float32"), atol=tolerance)


def test_a_model_has_its_own_activations_back():
    dense = keras.layers.Dense(4, activation="gelu")
    simple = keras.layers.Dense(4, activation="relu")
    model = keras.Sequential([keras.Input((5,)), simple, keras.Sequential([dense])])
    before = model(NUMBERS)
    with compiled_activations(model):
        assert dense.activation is not keras.activations.gelu
        assert simple.activation is keras.activations.relu
        np.testing.assert_allclose(model(NUMBERS), before, atol=1e-6)
    assert dense.activation is keras.activations.gelu


def test_also_when_a_training_is_interrupted():
    dense = keras.layers.Dense(4, activation="gelu")
    with pytest.raises(KeyboardInterrupt), compiled_activations(keras.Sequential([dense])):
        raise KeyboardInterrupt
    assert dense.activation is keras.activations.gelu
