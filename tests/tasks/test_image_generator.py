import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf

from xmodal.bridge.captions import write_captions
from xmodal.config.generator import GeneratorConfig
from xmodal.core.errors import UserError
from xmodal.data.images import ImageSplit
from xmodal.models.unet import unet
from xmodal.tasks.image_generator import (
    Sampling,
    as_pixels,
    flow_batches,
    generate_images,
    guide,
    is_grey,
    make_sampler_step,
    noise_for,
    ode_step,
    train_generator,
)
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.trainer import Trainer

SIZE = 8
NAMES = ("red", "blue")
CONFIG = GeneratorConfig(
    space_width=4,
    image_generator="flow",
    generator_widths=(16,),
    generator_patch=2,
    generator_epochs=60,
    generator_batch_size=16,
    generator_learning_rate=1e-2,
    generator_augment=(),
    generator_ema=0.9,
    unconditional=0.1,
    guidance=1.5,
    sampling_steps=8,
    solver="euler",
    drawn=2,
)
ONE_EPOCH = dataclasses.replace(CONFIG, generator_epochs=1)


def split(copies=16) -> ImageSplit:
    """Two pictures, over and over: red above black, black above blue."""
    pictures = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    pictures[0, : SIZE // 2, :, 0] = pictures[1, SIZE // 2 :, :, 2] = 255
    encoded = tf.io.encode_png(pictures).numpy()
    labels = np.arange(2 * copies, dtype=np.int32) % 2
    ids = tuple(str(number) for number in range(2 * copies))
    return ImageSplit(encoded[labels], labels, ids, digests=tuple(map(str.encode, ids)), in_memory=True)


def told():
    captions, _ = write_captions(NAMES)
    return np.eye(4, dtype=np.float32)[captions.labels], captions


def examples(epoch=0, channels=3, **options):
    vectors, captions = told()
    given = {"unconditional": 0.0, "generator_batch_size": 16, "generator_augment": ()}
    config = dataclasses.replace(CONFIG, **given | options)
    return flow_batches(
        split(), vectors, captions, config, image_size=SIZE, channels=channels, seed=0, epoch=epoch
    )


def trained(strategy, config=CONFIG, **options):
    vectors, captions = told()
    return train_generator(
        split(),
        vectors,
        captions,
        dataclasses.replace(config, generator_augment=()),
        Trainer(strategy=strategy, **options),
        image_size=SIZE,
    )


def test_a_point_on_the_path_and_its_velocity():
    for inputs, velocities, weights in examples():
        time = inputs["time"].numpy()[:, None, None, None]
        # x_1 = x_t + (1 - t) v is one of the two pictures, from -1 to 1.
        ends = inputs["image"] + (1 - time) * velocities
        pictures = tf.stack([tf.io.decode_png(png) for png in split().items[:2]]).numpy() / 127.5 - 1
        place = inputs["text"].numpy()[:, :2].argmax(axis=1)
        np.testing.assert_allclose(ends, pictures[place], atol=1e-4)
        # x_0 = x_t - t v is noise.
        starts = (inputs["image"] - time * velocities).numpy()
        assert abs(starts.mean()) < 0.1
        assert abs(starts.std() - 1) < 0.1
        assert weights.numpy().tolist() == [1.0] * 16


def test_an_epoch_is_the_same_whenever_it_is_asked_for():
    first, again, other = (next(iter(examples(epoch))) for epoch in (3, 3, 4))
    for a, b in zip(tf.nest.flatten(first), tf.nest.flatten(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[0]["time"].numpy() != other[0]["time"].numpy()).all()
    # And no two batches of it are.
    one, two = (batch[0]["time"].numpy() for batch in examples(3))
    assert not set(one) & set(two)


def test_some_are_told_nothing():
    given = np.concatenate([batch[0]["text"].numpy().any(axis=1) for batch in examples(unconditional=0.5)])
    assert 0.2 < given.mean() < 0.8


def test_guidance_goes_past_what_the_text_asks():
    def model(inputs):
        return inputs["text"][:, :1, None, None] * tf.ones_like(inputs["image"]) + inputs["time"][0]

    images, texts = tf.zeros((3, 2, 2, 3)), tf.constant([[1.0, 0], [2, 0], [0, 0]])
    velocities = guide(model, images, tf.constant(0.5), texts, tf.constant(3.0))
    np.testing.assert_allclose(velocities[:, 0, 0, 0], [3.5, 6.5, 0.5])


def test_solvers_follow_a_known_field():
    """dx/dt = -x: x(1) = x(0)/e. Heun's method is of second order, Euler's of first."""

    def field(inputs):
        return -inputs["image"]

    def followed(solver, steps):
        images, texts = tf.ones((1, 1, 1, 3)), tf.zeros((1, 2))
        times = tf.linspace(0.0, 1.0, steps + 1)
        for start, end in pairwise(times):
            images = ode_step(field, images, texts, start, end, tf.constant(1.0), solver=solver)
        return abs(float(images[0, 0, 0, 0]) - np.exp(-1))

    assert followed("euler", 20) / followed("euler", 40) == pytest.approx(2, rel=0.1)
    assert followed("heun", 10) / followed("heun", 20) == pytest.approx(4, rel=0.1)


@pytest.mark.slow
def test_it_learns_two_pictures_by_heart_and_draws_the_one_that_is_asked_for(one_device):
    model, history = trained(one_device)
    assert history.epochs[-1]["loss"] < history.epochs[0]["loss"] / 2
    assert "accuracy" not in history.epochs[0]
    texts = np.eye(4, dtype=np.float32)[[0, 1, 0, 1]]
    noise = noise_for(4, (SIZE, SIZE, 3), (0, 0))
    pictures = generate_images(
        make_sampler_step(model, "euler"), noise, texts, Sampling(8, 1.5, "euler"), shown=False
    )
    assert pictures.dtype == np.uint8
    real = np.stack([tf.io.decode_png(png).numpy() for png in split().items[:2]]).astype(float)
    distances = np.abs(pictures[:, None] - real[None]).mean(axis=(2, 3, 4))
    assert distances.argmin(axis=1).tolist() == [0, 1, 0, 1]
    assert distances.min(axis=1).max() < 40
    # The same noise and text give the same picture, alone or beside others.
    alone = generate_images(
        make_sampler_step(model, "euler"), noise[2:3], texts[2:3], Sampling(8, 1.5, "euler"), shown=False
    )
    assert np.abs(alone[0].astype(int) - pictures[2]).max() <= 1


def test_noise_depends_on_its_seed_alone():
    np.testing.assert_array_equal(
        noise_for(3, (SIZE, SIZE, 3), (1, 0)), noise_for(3, (SIZE, SIZE, 3), (1, 0))
    )
    assert (
        noise_for(3, (SIZE, SIZE, 3), (1, 0)).numpy() != noise_for(3, (SIZE, SIZE, 3), (2, 0)).numpy()
    ).all()


@pytest.mark.slow
def test_two_devices_learn_what_one_does(one_device, mirrored):
    (one, _), (two, _) = (trained(strategy, ONE_EPOCH) for strategy in (one_device, mirrored))
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)


@pytest.mark.slow
def test_a_training_that_goes_on_ends_with_the_same_weights(one_device, tmp_path, monkeypatch):
    few = dataclasses.replace(CONFIG, generator_epochs=2)
    whole, _ = trained(one_device, few)
    from xmodal.tasks import image_generator

    original = image_generator.flow_batches

    def dies(*arguments, epoch, **options):
        if epoch == 1:
            raise KeyboardInterrupt
        return original(*arguments, epoch=epoch, **options)

    kept = Checkpoints(tmp_path, seconds=0)
    monkeypatch.setattr(image_generator, "flow_batches", dies)
    with pytest.raises(KeyboardInterrupt):
        trained(one_device, few, checkpoints=kept)
    monkeypatch.setattr(image_generator, "flow_batches", original)
    resumed, history = trained(one_device, few, checkpoints=Checkpoints(tmp_path, seconds=0))
    assert len(history.epochs) == 2
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_sizes_that_cannot_be_halved(one_device):
    with pytest.raises(
        UserError, match=r"`image_size=8` is no multiple of 16, .* ask for; choose one, such as 16"
    ):
        trained(one_device, dataclasses.replace(CONFIG, generator_widths=(8, 8, 8, 8)))


def test_the_network_starts_by_guessing_the_middle_of_all_pictures():
    model = unet(16, 4, (8, 16), 2)
    noisy = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    times = np.array([0.0, 0.75], np.float32)
    velocities = model({"image": noisy, "time": times, "text": np.zeros((2, 4), np.float32)})
    np.testing.assert_allclose(velocities, -noisy * np.array([1, 4]).reshape(2, 1, 1, 1), rtol=1e-5)


def test_grey_pictures_are_told_from_coloured_ones():
    assert not is_grey(split(), SIZE)
    pixels = np.random.default_rng(0).integers(0, 255, (3, SIZE, SIZE, 1)).astype(np.uint8)
    items = tf.io.encode_png(pixels).numpy()
    grey = ImageSplit(items, np.zeros(3, np.int32), ("a", "b", "c"), (b"", b"", b""), in_memory=True)
    assert is_grey(grey, SIZE)
    assert as_pixels(tf.zeros((2, 4, 4, 1))).shape == (2, 4, 4, 3)
