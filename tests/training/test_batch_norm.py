import keras
import numpy as np
import pytest
import tensorflow as tf

from xmodal.config.training import TrainConfig
from xmodal.data.batches import array_batches
from xmodal.models.image_backbones import image_backbone
from xmodal.models.trainable import set_trainable
from xmodal.training.batch_norm import batch_norms, refresh_statistics, without_statistics
from xmodal.training.loop import fit
from xmodal.training.losses import cross_entropy
from xmodal.training.optimizers import optimizer_maker
from xmodal.training.prediction import validator


def normalising(strategy):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        return keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(5),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(3),
            ]
        )


@pytest.mark.parametrize("name", ["one_device", "mirrored"])
def test_statistics_are_those_of_the_data(name, request):
    strategy = request.getfixturevalue(name)
    inputs = np.random.default_rng(0).normal(3, 2, (64, 4)).astype(np.float32)
    model = normalising(strategy)
    (layer,) = without_statistics(model)
    momentum = layer.momentum
    refresh_statistics(model, [layer], array_batches(inputs, batch_size=64), strategy)
    seen = model.layers[0](inputs).numpy()
    # Two devices see a half each: the variance within the halves is a little smaller.
    tolerance = 1e-4 if strategy.num_replicas_in_sync == 1 else 0.1
    np.testing.assert_allclose(layer.moving_mean, seen.mean(axis=0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, seen.var(axis=0), rtol=tolerance)
    assert without_statistics(model) == []
    assert (layer.momentum, layer.trainable) == (momentum, True)


def test_several_batches_count_together(one_device):
    inputs = np.random.default_rng(0).normal(3, 2, (64, 4)).astype(np.float32)
    # Batches that differ: their means are far apart.
    inputs[32:] += 10
    model = normalising(one_device)
    (layer,) = batch_norms(model, trainable=True)
    refresh_statistics(model, [layer], array_batches(inputs, batch_size=32), one_device)
    seen = model.layers[0](inputs).numpy()
    np.testing.assert_allclose(layer.moving_mean, seen.mean(axis=0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, seen.var(axis=0), rtol=1e-3)


def test_a_network_is_traced_once_for_all_epochs_and_batches(one_device):
    inputs = np.random.default_rng(0).normal(3, 2, (40, 4)).astype(np.float32)
    model, traced = normalising(one_device), []
    first, second = model.layers[1], keras.layers.BatchNormalization()
    with one_device.scope():
        outputs = second(keras.layers.Lambda(lambda values: traced.append(1) or values)(model.outputs[0]))
        whole = keras.Model(model.inputs, outputs)
    traced.clear()
    for _ in range(2):
        # The last batch is smaller.
        refresh_statistics(whole, [first, second], array_batches(inputs, batch_size=16), one_device)
    assert len(traced) == 1
    # One that is frozen stays as it is, and what comes after it is computed with its own statistics.
    first.trainable = False
    first.moving_mean.assign(np.full(5, 2.0))
    refresh_statistics(whole, [second], array_batches(inputs, batch_size=40), one_device)
    assert len(traced) == 2
    np.testing.assert_array_equal(first.moving_mean, np.full(5, 2.0))
    np.testing.assert_allclose(second.moving_mean, model(inputs).numpy().mean(axis=0), rtol=1e-4, atol=1e-4)


def test_frozen_layers_keep_their_statistics_in_training(one_device):
    model = normalising(one_device)
    layer = model.layers[1]
    layer.moving_mean.assign(np.full(5, 2.0))
    layer.trainable = False
    examples = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32), np.arange(16) % 3
    fit(
        model,
        lambda epoch: array_batches(*examples, batch_size=8),
        loss=cross_entropy(),
        optimizer=optimizer_maker(TrainConfig(), 0.01),
        epochs=1,
        strategy=one_device,
        stage="",
    )
    np.testing.assert_array_equal(layer.moving_mean, np.full(5, 2.0))


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("MobileNetV2", "out_relu"),
        pytest.param("ResNet50", "conv5_block3_out", marks=pytest.mark.slow),
    ],
)
def test_networks_from_random_weights_learn_and_answer_as_they_were_trained(name, last, one_device, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 3
    images = rng.uniform(0, 60, (48, 32, 32, 3)).astype(np.float32)
    images[np.arange(48), :, :, labels] += 150
    with one_device.scope():
        keras.utils.set_random_seed(0)
        trunk = image_backbone(name, 32, [last], cache=tmp_path)
        model = keras.Model(trunk.input, keras.layers.Dense(3, name="logits")(trunk.output))
    set_trainable(trunk, "all")
    held_out = array_batches(images, labels, batch_size=48)
    history = fit(
        model,
        lambda epoch: array_batches(images, labels, batch_size=16, shuffle_seed=(0, epoch)),
        loss=cross_entropy(),
        optimizer=optimizer_maker(TrainConfig(), 1e-3),
        epochs=2,
        strategy=one_device,
        stage="",
        validation=held_out,
        patience=2,
    )
    losses = [loss for epoch in history.epochs for loss in (epoch["loss"], epoch["val_loss"])]
    assert max(losses) < 10
    assert history.start["val_loss"] < 10
    seen = validator(model, one_device)(held_out)
    assert seen["val_loss"] <= history.start["val_loss"]
    # What is answered at inference is what was trained: the moving averages of six steps would not do.
    assert seen["val_loss"] == pytest.approx(min([history.start["val_loss"], *losses[1::2]]), rel=1e-4)
    assert not tf.reduce_any(tf.math.is_nan(model(images[:1])))
