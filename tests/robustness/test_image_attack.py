"""FGSM and PGD on squares of two colours, by the library and in training."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import flagsaver
from loading import load_images

from xmodal.config import flags
from xmodal.config.config import Config
from xmodal.core.errors import UserError
from xmodal.data.images import ImageData
from xmodal.robustness.image_attack import attack_images, library, require_library
from xmodal.tasks.image_classifier import fgsm, fine_tune, pixels
from xmodal.training.loop import fit
from xmodal.training.losses import cross_entropy
from xmodal.training.trainer import Trainer

FLAGS = (
    "--image_size=32",
    "--batch_size=16",
    "--epochs=8",
    "--augment=",
    "--learning_rate=0.02",
    "--label_smoothing=0",
    "--pixel_budgets=4,16,48",
    "--attack_steps=5",
)


@pytest.fixture(scope="module")
def settings() -> Config:
    with flagsaver.flagsaver():
        flags.parse(["run", *FLAGS])
        return flags.from_flags()


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> ImageData:
    """80 images of noise with a square that is a little redder, or a little bluer."""
    root = tmp_path_factory.mktemp("squares")
    rng = np.random.default_rng(0)
    for number in range(80):
        name, channel = (("blue", 2), ("red", 0))[number % 2]
        image = rng.integers(80, 120, (32, 32, 3), np.uint8)
        image[8:24, 8:24, channel] += 60
        path = root / name / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tf.io.encode_png(image).numpy())
    return load_images(f"folder:{root}", cache=root, validation_fraction=0.2, test_fraction=0.3)


def new_model(strategy) -> keras.Model:
    with strategy.scope():
        keras.utils.set_random_seed(1)
        return keras.Sequential(
            [
                keras.Input((32, 32, 3)),
                keras.layers.Rescaling(1 / 128, -1),
                keras.layers.Conv2D(4, 5, strides=3, activation="relu"),
                keras.layers.Flatten(),
                keras.layers.Dense(2),
            ]
        )


def trained(data, settings, strategy, epsilon: float = 0.0):
    model = new_model(strategy)
    history = fine_tune(
        model,
        data,
        settings.image,
        Trainer(settings.train, strategy=strategy),
        name="",
        epsilon=epsilon,
    )
    return model, history


@pytest.fixture(scope="module")
def plain(data, settings, one_device):
    return trained(data, settings, one_device)


@pytest.fixture(scope="module")
def robust(data, settings, one_device):
    return trained(data, settings, one_device, epsilon=16)


def attacked(model, data, settings):
    return attack_images(model, data.test, 2, image_size=32, batch_size=16, config=settings.attack, seed=0)


@pytest.mark.slow
def test_accuracy_falls_with_the_budget_and_more_under_pgd(plain, data, settings):
    found = attacked(plain[0], data, settings)
    assert found.clean.mean() == 1
    assert list(found.changed) == ["FGSM", "PGD of 5 steps"]
    assert list(found.changed["FGSM"]) == ["within 4/255", "within 16/255", "within 48/255"]
    fgsm_, pgd = ([right.mean() for right in rights.values()] for rights in found.changed.values())
    for accuracies in (fgsm_, pgd):
        assert 1 >= accuracies[0] >= accuracies[1] >= accuracies[2]
    assert pgd[1] <= fgsm_[1] + 1 / len(found.clean)
    assert pgd[2] < 0.5
    # The same seed, the same answers.
    again = attacked(plain[0], data, settings)
    for kind, rights in found.changed.items():
        for budget, right in rights.items():
            np.testing.assert_array_equal(again.changed[kind][budget], right)


def test_our_fgsm_is_that_of_the_library(plain, data):
    fast_gradient, _, tensorflow_classifier = library()
    model, _ = plain
    images = next(iter(pixels(data.test, 32, 16))).numpy()
    labels = data.test.labels[: len(images)]
    ours = fgsm(model, cross_entropy(), 7.0)(tf.constant(images), tf.constant(labels)).numpy()
    classifier = tensorflow_classifier(
        model=model,
        nb_classes=2,
        input_shape=(32, 32, 3),
        loss_object=keras.losses.CategoricalCrossentropy(from_logits=True),
        clip_values=(0.0, 255.0),
    )
    theirs = fast_gradient(classifier, eps=7.0, batch_size=16).generate(
        images, np.eye(2, dtype=np.float32)[labels]
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert np.abs(ours - images).max() == pytest.approx(7.0)


def test_robust_training_is_worth_something_under_attack(plain, robust, data, settings):
    plain, robust = (attacked(item[0], data, settings).changed["PGD of 5 steps"] for item in (plain, robust))
    assert robust["within 16/255"].mean() > plain["within 16/255"].mean() + 0.2


def test_a_step_minimises_the_mean_of_both_losses(data, one_device):
    model = new_model(one_device)
    images = next(iter(pixels(data.train, 32, 16)))
    labels = tf.constant(data.train.labels[:16])
    loss = cross_entropy()
    adversary = fgsm(model, loss, 8.0)
    clean = tf.reduce_mean(loss(labels, model(images)))
    misled = tf.reduce_mean(loss(labels, model(adversary(images, labels))))
    history = fit(
        model,
        lambda epoch: tf.data.Dataset.from_tensors((images, labels, tf.ones(16))),
        loss=loss,
        optimizer=lambda steps: keras.optimizers.SGD(0.0),
        epochs=1,
        strategy=one_device,
        stage="",
        adversary=adversary,
    )
    assert float(misled) > float(clean)
    assert history.epochs[0]["loss"] == pytest.approx(float(clean + misled) / 2, rel=1e-5)


def test_the_library_is_asked_for_before_anything_is_trained(settings, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "art"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "art", None)
    require_library(settings.attack)
    with flagsaver.flagsaver():
        flags.parse(["run", "--attacked_examples=5"])
        asked = flags.from_flags().attack
    with pytest.raises(UserError, match=r"needs the package adversarial-robustness-toolbox .*\[attacks\]"):
        require_library(asked)
