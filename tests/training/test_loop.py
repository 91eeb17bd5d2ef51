import io
import re
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from xmodal.config.training import TrainConfig
from xmodal.core.errors import UserError
from xmodal.data.batches import array_batches
from xmodal.evaluation.calibration import softmax
from xmodal.training.loop import fit
from xmodal.training.losses import cross_entropy
from xmodal.training.optimizers import optimizer_maker
from xmodal.training.prediction import predict, validator


@pytest.fixture
def examples():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(37, 6)).astype(np.float32)
    return inputs, (inputs[:, 0] > 0).astype(np.int32) + (inputs[:, 1] > 0)


def build(strategy, seed=0):
    with strategy.scope():
        keras.utils.set_random_seed(seed)
        return keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(3)]
        )


def fitted(strategy, examples, *, weights=None, batch_size=8, epochs=3, optimizer=None, **options):
    model = build(strategy)
    history = fit(
        model,
        lambda epoch: array_batches(*examples, weights, batch_size=batch_size, shuffle_seed=(0, epoch)),
        loss=cross_entropy(),
        optimizer=optimizer or optimizer_maker(TrainConfig(), 0.01),
        epochs=epochs,
        strategy=strategy,
        stage="",
        **options,
    )
    return model, history


def test_two_devices_end_with_the_losses_and_weights_of_one(examples, one_device, mirrored):
    # 37 examples in batches of 8: the last batch has 5, which two devices share unevenly.
    (one, first), (two, second) = (fitted(strategy, examples) for strategy in (one_device, mirrored))
    assert mirrored.num_replicas_in_sync == 2
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for a, b in zip(first.epochs, second.epochs, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
        assert a["accuracy"] == pytest.approx(b["accuracy"], abs=1e-6)


def test_a_batch_of_one_leaves_a_device_without_work(examples, one_device, mirrored):
    inputs, labels = examples
    few = inputs[:9], labels[:9]
    one, two = (fitted(strategy, few)[0] for strategy in (one_device, mirrored))
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_convolutions_train_alike_on_two_devices(one_device, mirrored):
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 1, (9, 32, 32, 3)).astype(np.float32)
    labels = rng.integers(0, 3, 9)

    def trained(strategy):
        with strategy.scope():
            keras.utils.set_random_seed(0)
            trunk = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
            pooled = keras.layers.GlobalAveragePooling2D()(trunk.get_layer("block2_pool").output)
            model = keras.Model(trunk.input, keras.layers.Dense(3)(pooled))
        fit(
            model,
            lambda epoch: array_batches(images, labels, batch_size=4),
            loss=cross_entropy(0.1),
            optimizer=lambda steps: keras.optimizers.SGD(0.01),
            epochs=1,
            strategy=strategy,
            stage="",
        )
        return model.get_weights()

    for a, b in zip(trained(one_device), trained(mirrored), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_it_learns_as_keras_fit_does(examples, one_device):
    inputs, labels = examples
    ours, _ = fitted(
        one_device, examples, batch_size=37, epochs=20, optimizer=lambda steps: keras.optimizers.SGD(0.1)
    )
    theirs = build(one_device)
    theirs.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    theirs.fit(inputs, labels, batch_size=37, epochs=20, shuffle=False, verbose=0)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_weights_count_as_repetitions(examples, one_device):
    inputs, labels = examples
    repeats = np.arange(37) % 4
    often = np.repeat(inputs, repeats, axis=0), np.repeat(labels, repeats)
    merged, _ = fitted(one_device, examples, weights=repeats, batch_size=37)
    repeated, _ = fitted(one_device, often, batch_size=len(often[0]))
    for a, b in zip(merged.get_weights(), repeated.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_loss_and_accuracy_are_those_of_the_whole_epoch(examples, one_device):
    inputs, labels = examples
    model, history = fitted(one_device, examples, epochs=1, optimizer=lambda steps: keras.optimizers.SGD(0.0))
    logits = model(inputs).numpy()
    losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True).numpy()
    assert history.epochs[0]["loss"] == pytest.approx(losses.mean(), abs=1e-6)
    assert history.epochs[0]["accuracy"] == pytest.approx((logits.argmax(1) == labels).mean())


def test_what_does_not_classify_has_its_own_loss_and_no_accuracy(examples, one_device):
    inputs, _ = examples
    wanted = np.random.default_rng(1).normal(size=(37, 3)).astype(np.float32)
    weights = (np.arange(37) % 3).astype(np.float32)
    batches = tf.data.Dataset.from_tensor_slices((inputs, wanted, weights)).batch(8)
    model = build(one_device)
    history = fit(
        model,
        lambda epoch: batches,
        loss=keras.losses.mean_squared_error,
        optimizer=lambda steps: keras.optimizers.SGD(0.0),
        epochs=1,
        strategy=one_device,
        stage="",
        validation=batches,
        report_accuracy=False,
    )
    (epoch,) = history.epochs
    expected = np.average(np.mean((model(inputs).numpy() - wanted) ** 2, axis=1), weights=weights)
    assert epoch["loss"] == pytest.approx(expected, rel=1e-5)
    assert epoch["val_loss"] == pytest.approx(expected, rel=1e-5)
    assert not [name for name in epoch if "accuracy" in name]


def test_early_stopping_restores_the_best_weights(examples, one_device):
    held_out = array_batches(*examples, batch_size=10)

    def rising_rate(steps):
        # It learns for a while, and then the rate is so high that it gets worse.
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay([25], [0.1, 8.0])
        return keras.optimizers.SGD(schedule)

    model, history = fitted(
        one_device, examples, epochs=40, optimizer=rising_rate, validation=held_out, patience=2
    )
    losses = [epoch["val_loss"] for epoch in history.epochs]
    assert 3 < len(losses) < 40
    assert min(losses) < history.start["val_loss"]
    assert len(losses) - 1 - int(np.argmin(losses)) == 2
    assert validator(model, one_device)(held_out)["val_loss"] == pytest.approx(min(losses), abs=1e-6)


@pytest.mark.parametrize("rate", [8.0, 1e30])
def test_what_a_training_begins_with_is_kept_where_a_rate_destroys_it(examples, one_device, rate):
    held_out = array_batches(*examples, batch_size=10)
    model, history = fitted(
        one_device,
        examples,
        epochs=9,
        optimizer=lambda steps: keras.optimizers.SGD(rate),
        validation=held_out,
        patience=3,
    )
    assert all(epoch["val_loss"] > history.start["val_loss"] for epoch in history.epochs)
    assert len(history.epochs) <= 3
    assert history.diverged is (rate == 1e30)
    assert history.best == history.start
    for kept, begun in zip(model.get_weights(), build(one_device).get_weights(), strict=True):
        np.testing.assert_array_equal(kept, begun)


def test_a_training_that_diverged_says_so_where_there_is_nothing_to_go_back_to(examples, one_device):
    with pytest.raises(UserError, match=r"diverged: the loss of epoch \d+ is not finite.*learning rate"):
        fitted(one_device, examples, epochs=9, optimizer=lambda steps: keras.optimizers.SGD(1e30))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_distributions_are_labels_too(examples, one_device, mirrored, smoothing):
    inputs, labels = examples
    shares = np.eye(3, dtype=np.float32)[labels]
    index = array_batches(inputs, labels, batch_size=8)
    for strategy in (one_device, mirrored):
        sure, unsure = build(strategy), build(strategy)
        histories = [
            fit(
                model,
                lambda epoch, targets=targets: array_batches(inputs, targets, batch_size=8),
                loss=cross_entropy(smoothing),
                optimizer=optimizer_maker(TrainConfig(), 0.01),
                epochs=2,
                strategy=strategy,
                stage="",
                validation=array_batches(inputs, targets, batch_size=8),
                patience=2,
            )
            for model, targets in ((sure, labels), (unsure, shares))
        ]
        assert histories[0].epochs[-1]["accuracy"] == histories[1].epochs[-1]["accuracy"]
        assert histories[0].epochs[-1]["val_accuracy"] == histories[1].epochs[-1]["val_accuracy"]
        assert histories[0].epochs[-1]["val_loss"] == pytest.approx(histories[1].epochs[-1]["val_loss"])
        for a, b in zip(sure.get_weights(), unsure.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
        assert validator(sure, strategy)(index)["val_loss"] > 0


def test_a_model_learns_the_distribution_that_it_is_taught(one_device):
    with one_device.scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    inputs = np.eye(2, dtype=np.float32).repeat(8, axis=0)
    shares = np.array([[0.5, 0.4, 0.1], [0.05, 0.05, 0.9]], np.float32).repeat(8, axis=0)
    fit(
        model,
        lambda epoch: array_batches(inputs, shares, batch_size=16),
        loss=cross_entropy(),
        optimizer=lambda steps: keras.optimizers.Adam(0.1),
        epochs=200,
        strategy=one_device,
        stage="",
    )
    np.testing.assert_allclose(softmax(model(inputs[::8]).numpy()), shares[::8], atol=0.01)


def test_keras_callbacks_hear_every_epoch_and_batch(examples, one_device):
    heard = []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: heard.append((epoch, sorted(logs))),
        on_train_batch_end=lambda batch, logs: heard.append(batch),
    )
    fitted(one_device, examples, epochs=2, callbacks=[callback])
    epoch = [0, 1, 2, 3, 4]
    assert heard == [*epoch, (0, ["accuracy", "loss"]), *epoch, (1, ["accuracy", "loss"])]


def test_predictions_keep_the_order_on_two_devices(mirrored):
    inputs = np.arange(11, dtype=np.float32)[:, None]
    outputs = predict(lambda inputs, training: inputs * 2, array_batches(inputs, batch_size=4), mirrored)
    np.testing.assert_array_equal(outputs, inputs * 2)


def test_dictionaries_are_inputs_too(one_device):
    with one_device.scope():
        keras.utils.set_random_seed(0)
        parts = {name: keras.Input((2,), name=name) for name in ("left", "right")}
        model = keras.Model(parts, keras.layers.Dense(2)(keras.layers.Concatenate()(list(parts.values()))))
    inputs = {name: np.ones((5, 2), np.float32) for name in parts}
    history = fit(
        model,
        lambda epoch: array_batches(inputs, np.ones(5), batch_size=2),
        loss=cross_entropy(),
        optimizer=lambda steps: keras.optimizers.Adam(0.1),
        epochs=5,
        strategy=one_device,
        stage="",
    )
    assert history.epochs[-1]["loss"] < history.epochs[0]["loss"]


def test_the_order_follows_the_seed_alone(examples):
    def order(*seed):
        batches = array_batches(*examples, batch_size=8, shuffle_seed=seed)
        return np.concatenate([inputs for inputs, _, _ in batches])

    assert np.array_equal(order(0, 1), order(0, 1))
    assert not np.array_equal(order(0, 1), order(0, 2))
    assert sorted(map(tuple, order(0, 1))) == sorted(map(tuple, examples[0]))


def test_label_smoothing_is_that_of_keras():
    logits, labels = tf.constant([[2.0, 0.0, -1.0]]), tf.constant([0])
    smoothed = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    expected = smoothed(tf.one_hot(labels, 3), logits)
    assert float(cross_entropy(0.1)(labels, logits)[0]) == pytest.approx(float(expected))


def test_waiting_for_input_is_told_apart(one_device):
    inputs, labels = np.ones((6, 6), np.float32), np.zeros(6, np.int64)

    def work(number):
        # Some tenths of a second that nothing can hide.
        square = tf.random.stateless_uniform((1500, 1500), [0, tf.cast(number, tf.int32)])
        for _ in range(4):
            square = tf.linalg.matmul(square, square) / 1500
        return 0 * square[0, 0]

    def slow_batch(*batch):
        return batch[0] + work(tf.reduce_sum(batch[2])), *batch[1:]

    def slow_loss(labels, logits):
        return cross_entropy()(labels, logits) + work(tf.reduce_sum(logits) * 0)

    def epoch(map_=lambda batches: batches, loss=None):
        history = fit(
            build(one_device),
            lambda epoch: map_(array_batches(inputs, labels, batch_size=1)),
            loss=loss or cross_entropy(),
            optimizer=lambda steps: keras.optimizers.SGD(0.1),
            epochs=2,
            strategy=one_device,
            stage="",
        )
        return history.epochs[-1]

    starved = epoch(lambda batches: batches.map(slow_batch))
    busy = epoch(loss=slow_loss)
    assert starved["seconds"] / 2 < starved["waiting"] < starved["seconds"]
    assert busy["waiting"] < busy["seconds"] / 2


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_the_bar_tells_speed_and_waiting_on_a_terminal_only(stream, examples, one_device, monkeypatch):
    told = stream()
    monkeypatch.setattr(sys, "stderr", told)
    model = build(one_device)
    fit(
        model,
        lambda epoch: array_batches(*examples, batch_size=2),
        loss=cross_entropy(),
        optimizer=lambda steps: keras.optimizers.SGD(0.1),
        epochs=1,
        strategy=one_device,
        stage="learning",
        callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.02))],
    )
    shown = told.getvalue()
    if stream is Terminal:
        assert re.search(r"learning 1/1:.*/19 .*loss=.*accuracy=.*examples/s=.*waiting=\d+%", shown)
    else:
        assert shown == ""


def test_keras_metrics_are_those_of_the_whole_validation_data(examples, one_device, mirrored):
    inputs, labels = examples
    weights = np.arange(37) % 3
    # 37 examples in batches of 7: devices share the last 2, and a mean of batches would be another one.
    validation = array_batches(inputs, labels, weights, batch_size=7)
    for strategy in (one_device, mirrored):
        metrics = [
            keras.metrics.SparseTopKCategoricalAccuracy(2, name="top_2"),
            keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="entropy"),
        ]
        model, history = fitted(strategy, examples, epochs=2, validation=validation, metrics=metrics)
        logits = model(inputs).numpy()
        order = np.argsort(-logits, axis=1)[:, :2]
        top_2 = np.average((order == labels[:, None]).any(axis=1), weights=weights)
        assert history.epochs[-1]["val_top_2"] == pytest.approx(top_2, abs=1e-6)
        assert history.epochs[-1]["val_entropy"] == pytest.approx(history.epochs[-1]["val_loss"], abs=1e-6)


def reaching(one_device, examples, until, epochs=12, **options):
    return fitted(
        one_device,
        examples,
        epochs=epochs,
        validation=array_batches(*examples, batch_size=8),
        patience=20,
        config=TrainConfig(until=until),
        **options,
    )


def test_a_training_stops_at_the_accuracy_that_it_is_to_reach(one_device, examples):
    _, all_of_it = reaching(one_device, examples, 0.0)
    accuracies = [entry["val_accuracy"] for entry in (all_of_it.start, *all_of_it.epochs)]
    until = (accuracies[0] + max(accuracies)) / 2
    first = next(index for index, accuracy in enumerate(accuracies) if accuracy >= until)
    assert first < len(all_of_it.epochs)
    model, history = reaching(one_device, examples, until)
    assert (len(history.epochs), history.reached, all_of_it.reached) == (first, True, False)
    assert history.best == history.epochs[-1]
    # The weights are those that reached it, though others had a lower loss before.
    answers = np.asarray(model(examples[0])).argmax(axis=1)
    assert np.mean(answers == examples[1]) == pytest.approx(history.best["val_accuracy"])
    assert history.best["val_accuracy"] >= until


def test_what_is_good_enough_at_its_start_is_not_trained(one_device, examples):
    model, history = reaching(one_device, examples, 0.01)
    assert (history.epochs, history.reached, history.best) == ((), True, history.start)
    for kept, first in zip(model.get_weights(), build(one_device).get_weights(), strict=True):
        assert (kept == first).all()
