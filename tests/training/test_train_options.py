"""Options of every training give the same results on one device and on two."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from xmodal.config.training import OPTIMIZERS, SCHEDULES, TrainConfig
from xmodal.data.batches import array_batches
from xmodal.training import optimizers, steps
from xmodal.training.loop import fit
from xmodal.training.losses import cross_entropy

EXAMPLES = np.random.default_rng(0).normal(size=(37, 6)).astype(np.float32)
LABELS = (EXAMPLES[:, 0] > 0).astype(np.int32) + (EXAMPLES[:, 1] > 0)


def fitted(strategy, config, *, peak=0.02, layers=(), epochs=3, optimizer=None, **options):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(16, activation="relu"), *layers, keras.layers.Dense(3)]
        )
    history = fit(
        model,
        lambda epoch: array_batches(EXAMPLES, LABELS, batch_size=8, shuffle_seed=(0, epoch)),
        loss=cross_entropy(),
        optimizer=optimizers.optimizer_maker(config, peak, optimizer),
        epochs=epochs,
        strategy=strategy,
        stage="",
        config=config,
        **options,
    )
    return model.get_weights(), history


def assert_close(a, b, atol=1e-5):
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one, other, atol=atol)


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(optimizer="sgd", weight_decay=0.1),
        TrainConfig(clip_norm=0.05, optimizer="sgd"),
        TrainConfig(accumulate=3),
        TrainConfig(ema=0.9),
        TrainConfig(clip_norm=0.1, accumulate=2, ema=0.5, schedule="linear"),
    ],
    ids=repr,
)
def test_two_devices_end_as_one_does(config, one_device, mirrored):
    (one, first), (two, second) = (fitted(strategy, config) for strategy in (one_device, mirrored))
    assert_close(one, two)
    for a, b in zip(first.epochs, second.epochs, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)


@pytest.mark.parametrize("parts", [2, 3, 8, 50])
def test_accumulation_changes_nothing(parts, one_device):
    # 37 examples in batches of 8: neither 3 parts nor the last batch of 5 come out even.
    whole, history = fitted(one_device, TrainConfig())
    in_parts, same = fitted(one_device, TrainConfig(accumulate=parts))
    assert_close(whole, in_parts)
    assert history.epochs[-1]["loss"] == pytest.approx(same.epochs[-1]["loss"], abs=1e-5)
    assert history.epochs[-1]["accuracy"] == same.epochs[-1]["accuracy"]


def test_the_clipped_gradient_has_the_norm_that_was_asked_for(one_device, mirrored):
    # One step of plain descent with rate 1 moves the weights by the gradient.
    def moved(strategy, config):
        def weights(rate):
            with strategy.scope():
                keras.utils.set_random_seed(0)
                model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
            fit(
                model,
                lambda epoch: array_batches(EXAMPLES, LABELS, batch_size=64),
                loss=cross_entropy(),
                optimizer=lambda steps: keras.optimizers.SGD(rate),
                epochs=1,
                strategy=strategy,
                stage="",
                config=config,
            )
            return np.concatenate([weight.ravel() for weight in model.get_weights()])

        return weights(1.0) - weights(0.0)

    free = moved(one_device, TrainConfig())
    assert np.linalg.norm(free) > 0.1
    for strategy in (one_device, mirrored):
        clipped = moved(strategy, TrainConfig(clip_norm=0.01))
        np.testing.assert_allclose(np.linalg.norm(clipped), 0.01, rtol=1e-4)
        np.testing.assert_allclose(clipped, free * 0.01 / np.linalg.norm(free), atol=1e-6)
        np.testing.assert_allclose(moved(strategy, TrainConfig(clip_norm=100.0)), free, atol=1e-6)


def test_the_average_of_weights_is_what_is_kept(one_device):
    # With a rate of zero after the first steps, an average would be the weights themselves.
    held_out = array_batches(EXAMPLES, LABELS, batch_size=10)
    averaged, history = fitted(one_device, TrainConfig(ema=0.9), validation=held_out)
    last, plain = fitted(one_device, TrainConfig(), validation=held_out)
    assert max(np.abs(a - b).max() for a, b in zip(averaged, last, strict=True)) > 1e-3
    # The average is validated, and does not disturb the training.
    assert history.epochs[-1]["loss"] == pytest.approx(plain.epochs[-1]["loss"], abs=1e-6)
    assert history.epochs[-1]["val_loss"] != pytest.approx(plain.epochs[-1]["val_loss"], abs=1e-4)


@pytest.mark.parametrize(("precision", "accumulate"), [("mixed_bfloat16", 1), ("mixed_float16", 2)])
def test_mixed_precision_learns_and_keeps_float32_variables(precision, accumulate, one_device, mirrored):
    config = TrainConfig(precision=precision, accumulate=accumulate, clip_norm=1.0)
    exact, _ = fitted(one_device, replace(config, precision="float32"), epochs=6)
    keras.config.set_dtype_policy(precision)
    try:
        for strategy in (one_device, mirrored):
            weights, history = fitted(strategy, config, epochs=6)
            assert history.epochs[-1]["loss"] < 0.8 * history.epochs[0]["loss"]
            assert {weight.dtype for weight in weights} == {np.dtype(np.float32)}
            assert_close(exact, weights, atol=0.05)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("jit", ["off", "on"])
def test_a_gradient_that_overflows_is_skipped_and_the_scale_halved(jit, one_device):
    config = TrainConfig(precision="mixed_float16", jit=jit)
    made = []

    def optimizer(steps):
        made.append(optimizers.optimizer_maker(config, 0.02)(steps))
        return made[-1]

    inputs = EXAMPLES.copy()
    inputs[:8] = 6e4
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with one_device.scope():
            keras.utils.set_random_seed(0)
            model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        before = model.get_weights()
        fit(
            model,
            lambda epoch: array_batches(inputs[:8], LABELS[:8], batch_size=8),
            loss=cross_entropy(),
            optimizer=optimizer,
            epochs=1,
            strategy=one_device,
            stage="",
            config=config,
        )
    finally:
        keras.config.set_dtype_policy("float32")
    assert_close(before, model.get_weights(), atol=0)
    assert float(made[0].dynamic_scale) == made[0].initial_scale / 2


@pytest.mark.parametrize(
    "options",
    [*({"optimizer": name} for name in OPTIMIZERS), {"ema": 0.9}, {"accumulate": 2}, {"steps_per_call": 2}],
    ids=str,
)
def test_compiled_steps_give_the_same(options, one_device):
    plain, _ = fitted(one_device, TrainConfig(jit="off", **options))
    compiled, _ = fitted(one_device, TrainConfig(jit="on", **options))
    assert_close(plain, compiled)


def test_the_update_alone_of_an_own_optimizer_is_compiled_where_there_are_many_weights(
    one_device, monkeypatch
):
    own = keras.optimizers.AdamW(0.01)
    plain, _ = fitted(one_device, TrainConfig(jit="off"), optimizer=own)
    monkeypatch.setattr(steps, "MANY_WEIGHTS", 1)
    made = []
    function = tf.function
    monkeypatch.setattr(tf, "function", lambda *given, **how: made.append(how) or function(*given, **how))
    fitted(one_device, TrainConfig(), optimizer=own)
    # It would take longer than it saves in so few steps.
    assert {"jit_compile": True} not in made
    monkeypatch.setattr(steps, "MANY_UPDATES", 1)
    fitted(one_device, TrainConfig())
    # One operation a variable is as fast as it is.
    assert {"jit_compile": True} not in made
    compiled, _ = fitted(one_device, TrainConfig(), optimizer=own)
    assert {"jit_compile": True} in made
    assert_close(plain, compiled)


def test_the_rate_is_computed_for_a_step_and_not_for_each_variable(one_device, monkeypatch):
    asked, made = [], []
    rate_at, maker = optimizers.WarmupSchedule.__call__, optimizers.optimizer_maker
    monkeypatch.setattr(
        optimizers.WarmupSchedule, "__call__", lambda *given: asked.append(given) or rate_at(*given)
    )

    def recorded(*given):
        return lambda planned: made.append(maker(*given)(planned)) or made[-1]

    monkeypatch.setattr(optimizers, "optimizer_maker", recorded)
    fitted(one_device, TrainConfig())
    few = len(asked)
    fitted(one_device, TrainConfig(), layers=[keras.layers.Dense(4) for _ in range(5)])
    assert len(asked) == 2 * few
    # The optimizers have their schedules again.
    assert {type(optimizer._learning_rate) for optimizer in made} == {optimizers.WarmupSchedule}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_begins_and_ends_as_it_says(optimizer, schedule):
    made = optimizers.optimizer_maker(TrainConfig(optimizer=optimizer, schedule=schedule), 0.5)(100)
    rate = made._learning_rate
    rates = [float(rate(step)) for step in range(101)]
    assert rates[0] == 0
    assert rates[10] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.5 if schedule == "constant" else 0.0, abs=1e-6)
    assert rates[55] == pytest.approx(0.5 if schedule == "constant" else 0.25, abs=1e-6)


@pytest.mark.parametrize("planned", [1, 2, 7, 100])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_the_cosine_is_that_of_keras(planned, warmup):
    rate = optimizers.optimizer_maker(TrainConfig(warmup=warmup), 0.5)(planned)._learning_rate
    rise = max(1, round(warmup * planned))
    same = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, planned - rise), warmup_target=0.5, warmup_steps=rise
    )
    for step in range(planned + 1):
        assert float(rate(step)) == pytest.approx(float(same(step)), abs=1e-6)


def test_moving_statistics_are_the_same_on_all_devices(mirrored):
    layer = keras.layers.BatchNormalization
    with mirrored.scope():
        normalise = layer()
    fitted(mirrored, TrainConfig(), layers=(normalise,))
    first, second = (value.numpy() for value in normalise.moving_mean.value.values)
    np.testing.assert_array_equal(first, second)
    assert tf.reduce_any(first != 0)


@pytest.mark.parametrize("several", [2, 3, 50])
def test_several_steps_a_call_change_nothing(several, one_device, mirrored):
    # 37 examples in batches of 8 are 5 steps: the last call takes fewer, and 50 is more than an epoch has.
    called = []
    listener = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: called.append(batch))
    one, first = fitted(one_device, TrainConfig())
    for strategy in (one_device, mirrored):
        config = TrainConfig(steps_per_call=several)
        other, second = fitted(strategy, config, callbacks=[listener])
        assert_close(one, other, atol=0 if strategy is one_device else 1e-5)
        assert [epoch["loss"] for epoch in second.epochs] == pytest.approx(
            [epoch["loss"] for epoch in first.epochs], abs=1e-5
        )
        assert "waiting" in first.epochs[0]
        assert "waiting" not in second.epochs[0]
    ends = {2: [1, 3, 4], 3: [2, 4], 50: [4]}[several]
    assert called == 2 * 3 * ends
