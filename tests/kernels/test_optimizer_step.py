import keras
import numpy as np
import pytest
import tensorflow as tf

from xmodal.kernels.optimizer_step import FusedAdamW, FusedSGD, is_fused

SHAPES = [(7, 3), (3,), (2, 3, 4)]
# Rows of an embedding of which some occur twice and some never.
ROWS = [1, 5, 1, 0]


def after_steps(optimizer, strategy, dense):
    """Returns variables after steps on gradients, which differ from step to step, one of single rows."""
    draws = np.random.default_rng(0)
    with strategy.scope():
        variables = [keras.Variable(draws.normal(size=shape).astype(np.float32)) for shape in SHAPES]
        optimizer.build(variables)

    @tf.function
    def step(*values):
        def replica(rows, *others):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.gather(variables[0].value, ROWS) * rows)
            first = tape.gradient(loss, variables[0].value)
            assert isinstance(first, tf.IndexedSlices)
            others = [tf.identity(other) for other in others]
            optimizer.apply([tf.convert_to_tensor(first) if dense else first, *others], variables)

        strategy.run(replica, values)

    for _ in range(5):
        shapes = [(len(ROWS), SHAPES[0][1]), *SHAPES[1:]]
        step(*(tf.constant(draws.normal(size=shape), tf.float32) for shape in shapes))
    return [variable.numpy() for variable in variables]


@pytest.mark.parametrize("devices", ["one_device", "mirrored"])
@pytest.mark.parametrize(
    ("fused", "plain", "options"),
    [
        (FusedAdamW, keras.optimizers.AdamW, {"weight_decay": 0.1}),
        (FusedAdamW, keras.optimizers.AdamW, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.01}),
        (FusedAdamW, keras.optimizers.AdamW, {"use_ema": True, "ema_momentum": 0.5}),
        (FusedSGD, keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
        (FusedSGD, keras.optimizers.SGD, {"momentum": 0.5}),
    ],
)
@pytest.mark.parametrize("dense", [True, False])
def test_the_weights_are_those_of_keras(fused, plain, options, devices, dense, request):
    strategy = request.getfixturevalue(devices)
    for rate in (0.03, keras.optimizers.schedules.CosineDecay(0.03, 5)):
        with strategy.scope():
            ours, theirs = (kind(rate, **options) for kind in (fused, plain))
        expected = after_steps(theirs, strategy, dense)
        for a, b in zip(after_steps(ours, strategy, dense), expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_loss_that_overflows_is_no_step(one_device):
    with one_device.scope():
        optimizer = keras.optimizers.LossScaleOptimizer(FusedAdamW(0.1))
        variable = keras.Variable(np.ones(3, np.float32))
        optimizer.build([variable])
    assert is_fused(optimizer)
    step = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
    step(tf.constant([np.inf, 1.0, 1.0]))
    np.testing.assert_array_equal(variable.numpy(), 1)
    step(tf.constant([1e6, -1e6, 0.0]))
    np.testing.assert_allclose(variable.numpy(), [0.9, 1.1, 1.0], atol=1e-3)


def test_a_step_has_few_operations_for_a_variable():
    def operations(kind):
        variables = [keras.Variable(np.ones(3, np.float32)) for _ in range(10)]
        optimizer = kind(0.1)
        optimizer.build(variables)
        step = tf.function(lambda: optimizer.apply([tf.ones(3)] * 10, variables))
        return len(step.get_concrete_function().graph.get_operations())

    assert 3 * operations(FusedAdamW) < operations(keras.optimizers.AdamW)
