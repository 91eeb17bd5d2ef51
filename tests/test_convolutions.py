"""Gradients of filters over small maps as products of matrices."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from xmodal.convolutions import filter_gradient, quick_filter_gradients, small_convolution

MAPS = (3, 4, 5, 6)


def numbers(shape, seed):
    return tf.constant(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("sides", [(3, 3), (5, 1), (1, 3)])
def test_the_products_are_the_gradient_of_the_filters(sides):
    inputs, filters = numbers(MAPS, 0), numbers((*sides, 6, 7), 1)
    upstream = numbers((3, 4, 5, 7), 2)
    with tf.GradientTape() as tape:
        tape.watch(filters)
        outputs = tf.nn.conv2d(inputs, filters, 1, "SAME")
    expected = tape.gradient(outputs, filters, upstream)
    np.testing.assert_allclose(filter_gradient(inputs, upstream, sides), expected, atol=1e-4)


def test_a_small_convolution_is_the_one_of_tensorflow():
    inputs, filters = numbers(MAPS, 0), numbers((3, 3, 6, 7), 1)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch((inputs, filters))
        outputs = {
            "ours": small_convolution(inputs, filters),
            "theirs": tf.nn.conv2d(inputs, filters, 1, "SAME"),
        }
        squares = {name: tf.reduce_sum(values**2) for name, values in outputs.items()}
    ours, theirs = (tape.gradient(squares[name], (inputs, filters)) for name in ("ours", "theirs"))
    np.testing.assert_array_equal(outputs["ours"], outputs["theirs"])
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)


def gradients_of(model, images):
    operations = []

    @tf.function
    def differentiated():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(images, training=True) ** 2)
        found = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        operations.extend(operation.type for operation in tf.compat.v1.get_default_graph().get_operations())
        return found

    return differentiated(), operations.count("Conv2DBackpropFilter")


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="the convolutions of a GPU stay")
def test_only_the_convolutions_over_small_maps_change_and_only_for_as_long_as_asked():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="over_maps_of_8"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="over_maps_of_4"),
            keras.layers.Conv2D(4, 3, padding="valid", name="that_shrinks"),
            keras.layers.Conv2D(4, 3, padding="same", strides=2, name="with_strides"),
            keras.layers.Flatten(),
        ]
    )
    images = numbers((2, 8, 8, 3), 3)
    plain, all_convolutions = gradients_of(model, images)
    with quick_filter_gradients(model):
        quick, left = gradients_of(model, images)
    _, afterwards = gradients_of(model, images)
    assert (all_convolutions, left, afterwards) == (4, 3, 4)
    for one, other in zip(quick, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
