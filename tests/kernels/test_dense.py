"""Dense layers over sequences as one product of matrices."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from xmodal.kernels.dense import flatten_sequences

SEQUENCES = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(np.float32)


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((None, 6)),
            keras.layers.Dense(8, activation=lambda x: keras.activations.gelu(x, approximate=True)),
            keras.layers.Dense(3, bias_initializer="ones"),
            keras.layers.Dense(2, use_bias=False),
        ]
    )


def with_gradients(model):
    with tf.GradientTape() as tape:
        outputs = model(SEQUENCES)
    return [outputs, *tape.gradient(outputs, [variable.value for variable in model.trainable_variables])]


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_outputs_and_gradients_stay(precision):
    keras.config.set_dtype_policy(precision)
    try:
        plain, flat = network(), network()
    finally:
        keras.config.set_dtype_policy("float32")
    flatten_sequences(flat)
    tolerance = 1e-4 if precision == "float32" else 0.1
    for one, other in zip(with_gradients(flat), with_gradients(plain), strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_allclose(tf.cast(one, "float32"), tf.cast(other, "float32"), atol=tolerance)


def test_a_changed_model_tells_its_shapes():
    model = network()
    flatten_sequences(model)
    assert model(keras.Input((7, 6))).shape == (None, 7, 2)
    assert model.output_shape == (None, None, 2)


@pytest.fixture
def with_grappler():
    """What makes graphs faster, which tests are without."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="what is fused depends on the device"
)
def test_tensorflow_fuses_product_bias_and_activation(tmp_path, with_grappler):
    model = network()
    flatten_sequences(model)
    run = tf.function(lambda sequences: model(sequences, training=False))
    run(tf.constant(SEQUENCES))
    tf.profiler.experimental.start(str(tmp_path))
    run(tf.constant(SEQUENCES))
    tf.profiler.experimental.stop()
    (trace,) = tmp_path.rglob("*.xplane.pb")
    assert b"FusedMatMul" in trace.read_bytes()
