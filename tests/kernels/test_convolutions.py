"""Convolutions over small maps as products of matrices."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from xmodal.kernels import convolutions
from xmodal.kernels.convolutions import call_fast, identity_convolutions, small_convolution

on_cpu = pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="a GPU keeps its convolutions"
)


def numbers(shape, seed):
    return tf.constant(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("sides", [(3, 3), (5, 1), (1, 3)])
@pytest.mark.parametrize("convolved", [convolutions._product, convolutions._convolution])
def test_a_small_convolution_and_its_gradients_are_those_of_tensorflow(sides, convolved):
    inputs, filters, upstream = (
        numbers(shape, seed) for seed, shape in enumerate(((3, 4, 5, 6), (*sides, 6, 7), (3, 4, 5, 7)))
    )
    found = []
    for convolution in (
        lambda *given: small_convolution(*given, convolved),
        lambda *given: tf.nn.conv2d(*given, 1, "SAME"),
    ):
        with tf.GradientTape() as tape:
            tape.watch((inputs, filters))
            outputs = convolution(inputs, filters)
        found.append((outputs, *tape.gradient(outputs, (inputs, filters), upstream)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def layers():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="few_weights_for_64_places"),
            keras.layers.MaxPooling2D(4),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="many_for_4"),
            keras.layers.Conv2D(4, 3, padding="same", strides=2, name="with_strides"),
            keras.layers.Conv2D(4, 1, padding="same", name="of_one_place"),
            keras.layers.Flatten(),
        ]
    )


def gradients(call, model, images):
    """Returns them, and how many convolutions TensorFlow computes and how many gradients of filters."""
    operations = []

    @tf.function
    def differentiated():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(call(images) ** 2)
        found = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        operations.extend(operation.type for operation in tf.compat.v1.get_default_graph().get_operations())
        return found

    return differentiated(), (operations.count("Conv2D"), operations.count("Conv2DBackpropFilter"))


@on_cpu
@pytest.mark.parametrize(
    ("many", "many_for_gradient", "left"),
    [(20, {}, (3, 3)), (1000, {tf.float32: 20}, (5, 3)), (1000, {}, (4, 4))],
    ids=["products", "products for the gradient", "none"],
)
def test_only_convolutions_of_many_weights_for_few_places_change(monkeypatch, many, many_for_gradient, left):
    monkeypatch.setattr(convolutions, "MANY", many)
    monkeypatch.setattr(convolutions, "MANY_FOR_GRADIENT", many_for_gradient)
    model, images = layers(), numbers((2, 8, 8, 3), 3)
    expected, before = gradients(model, model, images)
    found, during = gradients(lambda images: call_fast(model, images, training=True), model, images)
    _, after = gradients(model, model, images)
    assert (before, during, after) == ((4, 4), left, (4, 4))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@on_cpu
def test_the_upper_blocks_of_a_vgg_are_among_them():
    model = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    _, left = gradients(
        lambda images: call_fast(model, images, training=True), model, numbers((1, 32, 32, 3), 0)
    )
    # Blocks 1 to 3 have seven convolutions; block 4 has maps of 4 x 4, block 5 of 2 x 2.
    assert left[1] == 7


@on_cpu
def test_convolutions_that_pass_every_channel_on_are_left_out_to_the_last_bit():
    model = layers()
    images = tf.nn.relu(numbers((2, 8, 8, 3), 3))
    assert identity_convolutions(model) == []
    grown = model.get_layer("many_for_4")
    bias = np.arange(4, dtype=np.float32)
    identity = np.zeros((3, 3, 4, 4), np.float32)
    identity[1, 1] = np.eye(4)
    for changed, passes in ((identity, True), (2 * identity, False), (identity[::-1] + 1e-9, False)):
        grown.set_weights([changed, bias])
        assert identity_convolutions(model) == [grown] * passes

    grown.set_weights([identity, bias])
    counts = []

    @tf.function
    def run(left_out):
        outputs = call_fast(model, images, training=False, passing=[grown] * left_out)
        graph = tf.compat.v1.get_default_graph()
        counts.append(sum(operation.type == "Conv2D" for operation in graph.get_operations()))
        return outputs

    np.testing.assert_array_equal(run(True), run(False))
    assert counts == [3, 4]
    # Its layer is what it was.
    np.testing.assert_array_equal(model(images), run(False))
